package etcd

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// member sends pieces, one each time it may, and ends as clientv3's stream does when
// its context does.
func member(ctx context.Context, pieces <-chan string) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		for {
			select {
			case <-ctx.Done():
				w.CloseWithError(ctx.Err())
				return
			case piece, more := <-pieces:
				if !more {
					w.Close()
					return
				}
				_, _ = io.WriteString(w, piece) // whoever reads no more says so
			}
		}
	}()
	return r
}

// TestASnapshotThatStopsComingEnds, and one that nobody reads for a while does not.
func TestASnapshotThatStopsComingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, l := listen(t.Context(), "https://cp2:2379")
		<-time.After(snapshotSilence / 2)
		pieces := make(chan string)
		s := l.to(member(ctx, pieces))
		buf := make([]byte, 8)
		for range 3 {
			<-time.After(2 * snapshotSilence) // whoever it is passed on to is slow
			go func() {
				<-time.After(snapshotSilence - time.Second)
				pieces <- "piece"
			}()
			if n, err := s.Read(buf); string(buf[:n]) != "piece" || err != nil {
				t.Fatalf("%q, %v", buf[:n], err)
			}
		}
		began := time.Now()
		_, err := s.Read(buf)
		if err == nil || !strings.Contains(err.Error(), "https://cp2:2379 has sent nothing for 30s") || time.Since(began) != snapshotSilence {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestASnapshotThatNeverBeginsEnds.
func TestASnapshotThatNeverBeginsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, l := listen(t.Context(), "https://cp2:2379")
		<-ctx.Done()
		if err := l.over(ctx.Err()); err == nil || !strings.Contains(err.Error(), "has sent nothing for 30s") {
			t.Error(err)
		}
	})
}

// TestASnapshotEndsAsItIsTold: whole, or for whatever reason the member or the caller has.
func TestASnapshotEndsAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, l := listen(t.Context(), "https://cp2:2379")
		pieces := make(chan string)
		s := l.to(member(ctx, pieces))
		go func() { pieces <- "all"; close(pieces) }()
		if all, err := io.ReadAll(s); string(all) != "all" || err != nil {
			t.Errorf("%q, %v", all, err)
		}
		if err := s.Close(); err != nil || ctx.Err() == nil {
			t.Errorf("closed: %v; what it was of: %v", err, ctx.Err())
		}
		refused := errors.New("etcdserver: permission denied")
		_, l = listen(t.Context(), "https://cp2:2379")
		if err := l.over(refused); !errors.Is(err, refused) {
			t.Error(err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		_, l = listen(gone, "https://cp2:2379")
		if err := l.over(context.Canceled); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
