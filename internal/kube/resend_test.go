package kube

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhatIsLostIsSentAgain: what an API server writes while its etcd has no leader
// may be lost, however often, and it takes longer to say so than the rest.
func TestWhatIsLostIsSentAgain(t *testing.T) {
	t.Parallel()
	const patience, every, answers = 9500 * time.Millisecond, time.Second, 10 * time.Millisecond
	refused := errors.New("refused")
	for _, c := range []struct {
		what   string
		serves time.Duration // from when on what is sent is answered
		err    error
		sent   int64
		took   time.Duration
	}{
		{"at once", 0, nil, 1, answers},
		{"refused", 0, refused, 1, answers},
		{"lost once", every / 2, nil, 2, every + answers},
		{"lost for an election and another", 7 * every / 2, nil, 5, 4*every + answers},
		{"lost for ever", time.Hour, context.DeadlineExceeded, 10, patience},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				var sent, open atomic.Int64
				began := time.Now()
				got, err := insist(ctx, every, func(ctx context.Context) (int64, error) {
					n := sent.Add(1)
					open.Add(1)
					defer open.Add(-1)
					takes := answers
					if time.Since(began) < c.serves {
						takes = time.Hour
					}
					answer := time.NewTimer(takes)
					defer answer.Stop()
					select {
					case <-answer.C:
						return n, c.err
					case <-ctx.Done():
						return 0, ctx.Err()
					}
				})
				if took := time.Since(began); !errors.Is(err, c.err) || err == nil && got != c.sent || sent.Load() != c.sent || took != c.took {
					t.Errorf("answer %d, %v after %s, sent %d times; want %v after %s, sent %d times", got, err, took, sent.Load(), c.err, c.took, c.sent)
				}
				if n := open.Load(); n != 0 {
					t.Errorf("%d requests go on", n)
				}
			})
		})
	}
}
