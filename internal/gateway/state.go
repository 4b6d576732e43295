package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"cke/internal/cluster"
)

// State is how a gateway stands.
type State struct {
	// Version is its ProtocolVersion.
	Version int `json:"version"`
	// Gateway is what it goes by now: the last good list, with the port that it
	// listens on.
	Gateway cluster.Gateway `json:"gateway"`
	// Error is why it does not go by the list that is there; empty if it does.
	Error string `json:"error,omitempty"`
	// Connections are the open ones, also those to members that are in the list
	// no more.
	Connections map[cluster.NodeName]int  `json:"connections"`
	Healthy     map[cluster.NodeName]bool `json:"healthy"`
	Accepted    uint64                    `json:"accepted"`
	Refused     uint64                    `json:"refused"` // beyond the limit, or while it stopped
	Failed      uint64                    `json:"failed"`  // no member answered
}

// What a question about the state may cost.
const (
	maxState     = 1 << 20
	stateTimeout = 5 * time.Second
)

// ReadState asks the gateway behind a socket. What answers runs as a user of
// its own, so no more is taken from it than a state can need.
func ReadState(ctx context.Context, path string) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return State{}, fmt.Errorf("ask the gateway: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })() // a question that is given up
	text, err := io.ReadAll(io.LimitReader(conn, maxState+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return State{}, fmt.Errorf("ask the gateway: %w", context.Cause(ctx))
	case err != nil:
		return State{}, fmt.Errorf("ask the gateway: %w", err)
	case len(text) > maxState:
		return State{}, fmt.Errorf("ask the gateway: it answers more than %d bytes", maxState)
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		return State{}, fmt.Errorf("ask the gateway: %w", err)
	}
	return s, nil
}

// stateServer answers whoever connects, one after the other.
type stateServer struct {
	listener *net.UnixListener
	done     chan struct{}
}

func serveState(path string, g *gateway) (*stateServer, error) {
	// A gateway that was killed leaves its socket behind. Nothing else is taken
	// away: a wrong path must cost nobody a file.
	if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() == fs.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen for questions: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for questions: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for questions: %w", err), l.Close())
	}
	s := &stateServer{l, make(chan struct{})}
	go s.serve(g)
	return s, nil
}

func (s *stateServer) serve(g *gateway) {
	defer close(s.done)
	pause := time.Millisecond
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of files. Who asks waits in the queue meanwhile.
			if !g.wait(nil, pause) {
				return
			}
			pause = min(2*pause, maxPause)
			continue
		}
		pause = time.Millisecond
		g.answer(conn)
	}
}

func (g *gateway) answer(conn net.Conn) {
	text, err := json.Marshal(g.state())
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(time.Second))
	}
	if err == nil {
		_, err = io.Copy(conn, bytes.NewReader(append(text, '\n')))
	}
	if err = errors.Join(err, conn.Close()); err != nil {
		g.log.Debug("a question was not answered", "err", err)
	}
}

func (s *stateServer) close() {
	_ = s.listener.Close() // nobody is interested in the state of what ends
	<-s.done
}

func (g *gateway) state() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := State{
		Version: ProtocolVersion, Gateway: g.list, Error: g.troubles.text(),
		Connections: map[cluster.NodeName]int{}, Healthy: map[cluster.NodeName]bool{},
		Accepted: g.accepted, Refused: g.refused, Failed: g.failed,
	}
	s.Gateway.Port = g.listening
	for _, u := range g.upstreams {
		s.Connections[u.Node] = 0
		s.Healthy[u.Node] = !u.down
	}
	for p := range g.pairs {
		s.Connections[p.up.Node]++
	}
	return s
}

// The kinds of trouble that may stand at the same time.
const (
	listTrouble = iota
	portTrouble
	emptyTrouble
	troubleKinds
)

// troubles are why the gateway does not do what the list says, by kind.
type troubles [troubleKinds]string

func (t troubles) text() string {
	var all []string
	for _, s := range t {
		if s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, "; ")
}

// say notes a trouble, or its end, and logs it when it is news.
func (g *gateway) say(kind int, text string) {
	g.mu.Lock()
	news := g.troubles[kind] != text
	g.troubles[kind] = text
	g.mu.Unlock()
	if news && text != "" {
		g.log.Warn("the gateway cannot do as it is told", "err", text)
	}
}
