package api

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestNewClientRefusesOtherAddresses(t *testing.T) {
	for _, server := range []string{
		"", "cke", "/run/cke.sock", "unix://run/cke.sock", "unix:", "http://127.0.0.1:1", "https://",
		"https://h:1/path", "https://u:p@h:1", "tcp://h:1", "https://h:%zz",
	} {
		_, err := NewClient(server, ClientTLS{})
		var bad *Error
		if !errors.As(err, &bad) || bad.Code != CodeInvalid {
			t.Errorf("%q: got %v", server, err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	missing := "unix://" + filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + l.Addr().String()
	l.Close()
	for _, server := range []string{missing, closed} {
		_, err := newTestClient(t, server, ClientTLS{}).Leader(t.Context())
		var unreachable *UnreachableError
		if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), server) || !strings.Contains(unreachable.Hint, "is cke running") {
			t.Errorf("%s: got %v", server, err)
		}
	}
}

// A daemon that took the request and died may have done the work: that is not
// the same as none being there.
func TestDaemonThatDiesIsNotUnreachable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet { // it has greeted
			panic(http.ErrAbortHandler)
		}
	})}
	go srv.Serve(l)
	defer srv.Close()
	err = newTestClient(t, "unix://"+path, ClientTLS{}).Resume(t.Context(), "main")
	var unreachable *UnreachableError
	if err == nil || errors.As(err, &unreachable) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestAnotherProgramsAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler()}
	go srv.Serve(l)
	defer srv.Close()
	_, err = newTestClient(t, "unix://"+path, ClientTLS{}).Leader(t.Context())
	var answered *Error
	if !errors.As(err, &answered) || answered.Code != CodeFailed || !strings.Contains(answered.Message, "404 Not Found") {
		t.Errorf("got %v", err)
	}
}

// TestWhoIsDoneLeavesNoConnection: one that polls with a client for each look would
// leave as many as it has looked.
func TestWhoIsDoneLeavesNoConnection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}, 1)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}\n")) }),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				ended <- struct{}{}
			}
		},
	}
	go srv.Serve(l)
	defer srv.Close()
	c, err := NewClient("unix://"+path+".none,unix://"+path, ClientTLS{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Leader(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		t.Fatal("the connection is not kept")
	default:
	}
	c.CloseIdle()
	<-ended
}
