package gateway

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"
)

func TestTheStateIsTheOwners(t *testing.T) {
	t.Parallel()
	a := newMember(t, "a", echo)
	r := start(t, func(r *rig) {
		// What a gateway leaves that was killed.
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.statePath(), Net: "unix"})
		must(t, err)
		l.SetUnlinkOnClose(false)
		must(t, l.Close())
	}, a)
	fi, err := os.Stat(r.statePath())
	must(t, err)
	if fi.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket's mode is %s", fi.Mode())
	}
	conn := r.talk(t)
	s := r.state(t)
	if s.Version != ProtocolVersion || s.Gateway.Cluster != "main" || s.Accepted != 1 || s.Connections["a"] != 1 || !s.Healthy["a"] {
		t.Errorf("got %+v", s)
	}
	exchange(t, conn, "hello")
	r.end(t)
	if _, err := os.Stat(r.statePath()); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// What answers is not trusted: it runs as another user.
func TestAnswersThatAreNotTaken(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for name, c := range map[string]struct {
		answer func(net.Conn)
		want   string
	}{
		"endless": {func(c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = c.Write(bytes.Repeat([]byte(" "), 1<<16))
			}
		}, "more than"},
		"nothing":  {func(net.Conn) {}, "unexpected end"},
		"nonsense": {func(c net.Conn) { _, _ = c.Write([]byte(`{"version":"x"}`)) }, "cannot unmarshal"},
	} {
		l, err := net.Listen("unix", p.statePath())
		must(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if conn, err := l.Accept(); err == nil {
				c.answer(conn)
				_ = conn.Close()
			}
		}()
		if _, err := ReadState(t.Context(), p.statePath()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
		<-done
		must(t, l.Close())
	}

	l, err := net.Listen("unix", p.statePath())
	must(t, err)
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := l.Accept(); err == nil {
			cancel() // and no answer
			<-t.Context().Done()
			_ = conn.Close()
		}
	}()
	if _, err := ReadState(ctx, p.statePath()); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: got %v", err)
	}
	if _, err := ReadState(t.Context(), p.statePath()+".other"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no socket: got %v", err)
	}
}
