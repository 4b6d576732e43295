package host

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// line passes bytes on at a pace, as a thin connection does.
type line struct {
	io.Writer
	every  time.Duration // for each KiB
	passed *atomic.Int64 // KiB so far
}

func (l line) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := l.Writer.Write(b[done:min(done+1<<10, len(b))])
		if done += n; err != nil {
			return done, err
		}
		l.passed.Add(1)
		<-time.After(l.every)
	}
	return done, nil
}

// While a release goes over a line of about 1 MiB/s other requests are answered:
// only so much of it is under way at once. How long they take is measured by what the
// line carries meanwhile, which a busy machine slows as well.
func TestOtherRequestsPassBesideATransfer(t *testing.T) {
	client, server := pipePair(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, VerbPutRelease) {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		_, _ = io.WriteString(w, "{}")
	})
	go func() {
		_ = ServeStdio(t.Context(), server.ReadCloser, server.WriteCloser, me(), handler, slog.New(slog.DiscardHandler))
	}()
	var passed atomic.Int64
	c := Stdio(struct {
		io.Reader
		io.Writer
		io.Closer
	}{client, line{client, time.Millisecond, &passed}, client}, anyone)
	t.Cleanup(func() { _ = c.Close() })

	sent := make(chan error, 1)
	const size, most = 3 << 20, 1 << 10 // KiB
	go func() { sent <- c.PutRelease(t.Context(), Release{}, 0, bytes.NewReader(make([]byte, size))) }()
	var slowest int64
	asked := 0
	for over := false; !over; asked++ {
		began := passed.Load()
		if _, err := c.Facts(t.Context(), "main", netip.Addr{}); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, passed.Load()-began)
		select {
		case err := <-sent:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	if asked < 3 || slowest > most {
		t.Errorf("asked %d times, before the slowest answer %d KiB of %d went", asked, slowest, size>>10)
	}
	t.Logf("asked %d times, before the slowest answer %d KiB of %d went", asked, slowest, size>>10)
}
