package host

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func me() Greeting { return Greeting{"v1.2-dirty", "arm64", strings.Repeat("0a", 32)} }

func anyone() Identity { return Identity{StoreID: "store-a", Epoch: 3} }

// ends are both ends of two pipes.
type ends struct {
	io.ReadCloser
	io.WriteCloser
}

func (e ends) Close() error { return errors.Join(e.WriteCloser.Close(), e.ReadCloser.Close()) }

func pipePair(t *testing.T) (client, server ends) {
	t.Helper()
	r1, w1, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return ends{r1, w2}, ends{r2, w1}
}

// serve serves a handler over pipes, with something printed before.
func serve(t *testing.T, noise string, h http.Handler) (*Client, <-chan error) {
	t.Helper()
	c, s := pipePair(t)
	if _, err := io.WriteString(s, noise); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- ServeStdio(t.Context(), s.ReadCloser, s.WriteCloser, me(), h, slog.New(slog.DiscardHandler))
	}()
	cl := Stdio(c, anyone)
	t.Cleanup(func() { _ = cl.Close() }) // a test may have closed it
	return cl, ended
}

// ways are the transports, each to a handler.
func ways() map[string]func(t *testing.T, h http.Handler) *Client {
	return map[string]func(t *testing.T, h http.Handler) *Client{
		"local": func(_ *testing.T, h http.Handler) *Client { return Local(h, anyone) },
		"stdio": func(t *testing.T, h http.Handler) *Client {
			c, _ := serve(t, "", h)
			return c
		},
	}
}

func answer200(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
}

func TestIdentityIsSent(t *testing.T) {
	for name, open := range ways() {
		t.Run(name, func(t *testing.T) {
			var got []string
			c := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				got = []string{r.Method, r.URL.Path, r.Header.Get(HeaderStore), r.Header.Get(HeaderEpoch), string(b)}
				_, _ = io.WriteString(w, `{"hostname":"h"}`)
			}))
			f, err := c.Facts(t.Context(), "prod", netip.MustParseAddr("10.0.0.1"))
			if err != nil || f.Hostname != "h" {
				t.Fatalf("%+v, %v", f, err)
			}
			want := `POST|/v1/facts|store-a|3|{"cluster":"prod","address":"10.0.0.1"}`
			if strings.Join(got, "|") != want {
				t.Fatalf("got %q", got)
			}
		})
	}
}

func TestErrorsKeepTheirType(t *testing.T) {
	for name, open := range ways() {
		t.Run(name, func(t *testing.T) {
			var send any
			code := http.StatusConflict
			c := open(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(code)
				switch v := send.(type) {
				case error:
					writeFailure(t, w, NewFailure(v))
				case string:
					_, _ = io.WriteString(w, v)
				}
			}))
			call := func(v any) error {
				send = v
				return c.Claim(t.Context())
			}
			var fenced *FencedError
			if err := call(errors.Join(errors.New("x"), &FencedError{Reason: "r", OtherStore: true})); !errors.As(err, &fenced) || *fenced != (FencedError{"r", true}) {
				t.Errorf("fenced: %v", err)
			}
			var guard *GuardError
			if err := call(&GuardError{Kind: DataLost, Reason: "r"}); !errors.As(err, &guard) || *guard != (GuardError{DataLost, "r"}) {
				t.Errorf("guard: %v", err)
			}
			var bad *InvalidError
			if err := call(&InvalidError{Reason: "r"}); !errors.As(err, &bad) || bad.Reason != "r" {
				t.Errorf("invalid: %v", err)
			}
			var other *RemoteError
			if err := call(errors.New("disk is full")); !errors.As(err, &other) || err.Error() != "disk is full" {
				t.Errorf("other: %v", err)
			}
			if err := call("<html>"); err == nil || !strings.Contains(err.Error(), "<html>") {
				t.Errorf("not ours: %v", err)
			}
			if err := call("{}"); err == nil {
				t.Error("an empty failure is none")
			}
		})
	}
}

func TestCancellationReachesTheHandler(t *testing.T) {
	for name, open := range ways() {
		t.Run(name, func(t *testing.T) {
			begun, ended := make(chan struct{}), make(chan struct{})
			c := open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v1/"+VerbWaitUnit {
					_, _ = io.WriteString(w, "{}")
					return
				}
				_, _ = io.WriteString(w, "{") // an answer that has begun
				_ = http.NewResponseController(w).Flush()
				close(begun)
				<-r.Context().Done()
				close(ended)
			}))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-begun
				cancel()
			}()
			if err := c.WaitUnit(ctx, "prod", true); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Fatal("the handler goes on")
			}
			if err := c.Claim(t.Context()); err != nil {
				t.Fatalf("the next call: %v", err)
			}
		})
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	for name, open := range ways() {
		t.Run(name, func(t *testing.T) {
			c := open(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/"+VerbClean {
					panic("no")
				}
			}))
			if err := c.Clean(t.Context(), "prod"); err == nil {
				t.Fatal("a panic is a success")
			}
			if err := c.Claim(t.Context()); err != nil {
				t.Fatalf("the next call: %v", err)
			}
		})
	}
}

func TestNoiseBeforeTheGreeting(t *testing.T) {
	for name, noise := range map[string]string{
		"a line": "Welcome to Debian\n", "no newline": "motd> ", "many lines": strings.Repeat("hello\n", 1000),
		"almost the greeting": "cke-host serves http2 1\n" + me().line()[:10],
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, noise, answer200("{}"))
			if err := c.Claim(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestNoGreeting(t *testing.T) {
	for name, c := range map[string]struct{ said, want string }{
		"not installed": {"sh: 1: cke-host: not found\n", `the other end says "sh: 1: cke-host: not found"`},
		"nothing":       {"", "the stream ends before the helper's greeting"},
		"no end":        {strings.Repeat("y\n", noiseLimit), "no greeting within"},
	} {
		t.Run(name, func(t *testing.T) {
			cl, s := pipePair(t)
			go func() {
				_, _ = io.WriteString(s, c.said) // the client gives up in the midst of it
				_ = s.WriteCloser.Close()
			}()
			h := Stdio(cl, anyone)
			for range 2 { // it stays so
				err := h.Claim(t.Context())
				if !errors.Is(err, ErrSessionEnded) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
					t.Fatalf("got %v", err)
				}
			}
		})
	}
}

func TestGreetingThatNeverComes(t *testing.T) {
	c, s := pipePair(t)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := Stdio(c, anyone).Claim(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

// The server ends with its input, after its requests.
func TestEndOfTheSession(t *testing.T) {
	begun, cancelled := make(chan struct{}), false
	c, ended := serve(t, "", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		<-time.After(20 * time.Millisecond) // work that ends late
		cancelled = true
	}))
	answered := make(chan error, 1)
	go func() { answered <- c.WaitUnit(t.Context(), "prod", true) }()
	<-begun
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !cancelled {
		t.Fatal("the server ended before its request")
	}
	if err := <-answered; err == nil {
		t.Fatal("the request is answered")
	}
	if err := c.Claim(t.Context()); !errors.Is(err, ErrSessionEnded) {
		t.Fatalf("a call after the end: %v", err)
	}
}

func TestServerEndsWithItsContext(t *testing.T) {
	c, s := pipePair(t)
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- ServeStdio(ctx, s.ReadCloser, s.WriteCloser, me(), answer200("{}"), slog.New(slog.DiscardHandler))
	}()
	if err := Stdio(c, anyone).Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
