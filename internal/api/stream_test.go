package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"cke/internal/record"
)

func TestWatchSendsEachValueAtOnce(t *testing.T) {
	send, seen := make(chan int64), make(chan int64)
	gone := make(chan struct{})
	_, client := serve(t, asked{watch: func(ctx context.Context, fn func(Status) error) error {
		defer close(gone)
		for {
			select {
			case v := <-send:
				if err := fn(Status{SpecRevision: v}); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}})
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- client.WatchStatus(ctx, "main", func(s Status) error { seen <- s.SpecRevision; return nil })
	}()
	for v := range int64(3) {
		send <- v
		if got := <-seen; got != v {
			t.Fatalf("saw %d, want %d", got, v)
		}
	}
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ended with %v", err)
	}
	<-gone // the server notices that the client left
}

func TestWatchEndsWithItsCallback(t *testing.T) {
	_, client := serve(t, asked{watch: func(ctx context.Context, fn func(Status) error) error {
		if err := fn(Status{}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	enough := errors.New("enough")
	if err := client.WatchStatus(t.Context(), "main", func(Status) error { return enough }); err != enough {
		t.Errorf("got %v", err)
	}
}

func TestBrokenStreamsDoNotLookComplete(t *testing.T) {
	boom := errors.New("boom")
	large := bytes.Repeat([]byte("x"), 1<<20)
	broken := func() io.Reader { return io.MultiReader(bytes.NewReader(large), iotest.ErrReader(boom)) }
	_, client := serve(t, asked{
		watch: func(_ context.Context, fn func(Status) error) error { return errors.Join(fn(Status{}), boom) },
		follow: func(_ context.Context, n int, fn func(record.Record) error) error {
			return errors.Join(fn(record.Record{Seq: int64(n)}), boom)
		},
		snapshot: func() (io.ReadCloser, int64, error) { return io.NopCloser(broken()), 42, nil },
		stateBackup: func(w io.Writer) error {
			_, err := io.Copy(w, io.MultiReader(bytes.NewReader([]byte("few")), iotest.ErrReader(boom)))
			return err
		},
	})
	ctx := t.Context()
	if err := client.WatchStatus(ctx, "main", func(Status) error { return nil }); err == nil {
		t.Error("a broken watch looks complete")
	}
	seq := int64(0)
	err := client.FollowHistory(ctx, "main", 7, func(r record.Record) error { seq = r.Seq; return nil })
	if err == nil || seq != 7 {
		t.Errorf("a broken history looks complete: %v, seq %d", err, seq)
	}
	if err := client.StateBackup(ctx, io.Discard); err == nil {
		t.Error("a broken state backup looks complete")
	}
	r, estimate, err := client.Snapshot(ctx, "main")
	if err != nil || estimate != 42 {
		t.Fatal(estimate, err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken snapshot looks complete after %d bytes: %v", n, err)
	}
}

func TestStreamsThatFailBeforeTheirFirstByte(t *testing.T) {
	no := Refused("no quorum", "wait")
	_, client := serve(t, asked{
		watch:       func(context.Context, func(Status) error) error { return no },
		snapshot:    func() (io.ReadCloser, int64, error) { return nil, 0, no },
		stateBackup: func(io.Writer) error { return no },
	})
	ctx := t.Context()
	_, _, snapshotErr := client.Snapshot(ctx, "main")
	for name, err := range map[string]error{
		"watch":    client.WatchStatus(ctx, "main", nil),
		"snapshot": snapshotErr,
		"state":    client.StateBackup(ctx, io.Discard),
	} {
		var got *Error
		if !errors.As(err, &got) || *got != *no {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestWholeStreams(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789"), 1<<18)
	_, client := serve(t, asked{
		snapshot: func() (io.ReadCloser, int64, error) {
			return io.NopCloser(bytes.NewReader(large)), int64(len(large)), nil
		},
		stateBackup: func(io.Writer) error { return nil },
	})
	r, _, err := client.Snapshot(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := client.StateBackup(t.Context(), io.Discard); err != nil {
		t.Errorf("empty: %v", err)
	}
}

// Shutdown waits for every request; the endless ones must not keep it.
func TestShutdownEndsWatches(t *testing.T) {
	srv, client := serve(t, asked{watch: func(ctx context.Context, fn func(Status) error) error {
		if err := fn(Status{}); err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	begun := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- client.WatchStatus(t.Context(), "main", func(Status) error { close(begun); return nil })
	}()
	<-begun
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a watch that was cut looks complete")
	}
}
