package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cke/internal/cluster"
)

// patience is how long anything may take on a machine that is busy with other
// tests; nothing is expected to come close.
const patience = 60 * time.Second

// host counts the loopback addresses of this process, so that no test finds
// another's port.
var host atomic.Uint32

// ownAddress is a loopback address nobody else listens on.
func ownAddress() netip.Addr {
	pid, n := os.Getpid(), host.Add(1)
	return netip.AddrFrom4([4]byte{127, byte(pid>>8)%250 + 4, byte(pid) + byte(n/254), byte(n%254 + 1)})
}

// ownPort is one on which nobody listens on either loopback address, and which the
// kernel gives to no connection.
func ownPort(t *testing.T) uint16 {
	t.Helper()
	for range 50 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(10000+rand.IntN(20000)))
		l, err := net.Listen("tcp", at.String())
		if err != nil {
			continue
		}
		must(t, l.Close())
		return at.Port()
	}
	t.Fatal("no free port found")
	return 0
}

// rig is a gateway within the test's process.
type rig struct {
	*place
	g     *gateway
	pace  pace
	limit int
	ended chan error
	stop  context.CancelFunc
	wake  chan os.Signal
}

// place is where a gateway listens and what it is told, in this process or
// another.
type place struct {
	dir  string
	at   netip.AddrPort
	log  *journal
	list cluster.Gateway
}

func newPlace(t *testing.T, members ...*member) *place {
	t.Helper()
	// Not t.TempDir: the path of a socket is at most 107 bytes long.
	dir, err := os.MkdirTemp("", "gw")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	p := &place{dir: dir, log: &journal{}, at: netip.AddrPortFrom(ownAddress(), cluster.DefaultGatewayPort)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", p.log)
		}
	})
	p.put(t, members...)
	return p
}

func (p *place) listPath() string  { return filepath.Join(p.dir, "list") }
func (p *place) statePath() string { return filepath.Join(p.dir, "state") }

func (p *place) options() Options {
	return Options{List: p.listPath(), State: p.statePath(), Listen: p.at.Addr(), Log: slog.New(slog.NewTextHandler(p.log, nil))}
}

// put writes a list of these members.
func (p *place) put(t *testing.T, members ...*member) {
	t.Helper()
	p.list = cluster.Gateway{Cluster: "main", Port: p.at.Port(), Upstreams: []cluster.Upstream{}}
	for _, m := range members {
		p.list.Upstreams = append(p.list.Upstreams, cluster.Upstream{Node: m.node, Address: m.at, Draining: m.draining, Restarting: m.restarting})
	}
	text, err := json.Marshal(p.list)
	must(t, err)
	p.write(t, string(text))
}

func (p *place) write(t *testing.T, text string) {
	t.Helper()
	fresh := filepath.Join(p.dir, "fresh")
	must(t, os.WriteFile(fresh, []byte(text), 0o600))
	must(t, os.Rename(fresh, p.listPath()))
}

// apply writes a list and waits until the gateway goes by it.
func (p *place) apply(t *testing.T, members ...*member) {
	t.Helper()
	p.put(t, members...)
	want, err := json.Marshal(p.list)
	must(t, err)
	p.until(t, "the list is applied", func(s State) bool {
		got, err := json.Marshal(s.Gateway)
		must(t, err)
		return bytes.Equal(got, want)
	})
}

func (p *place) state(t *testing.T) State {
	t.Helper()
	s, err := ReadState(t.Context(), p.statePath())
	must(t, err)
	return s
}

// until waits for a state.
func (p *place) until(t *testing.T, what string, is func(State) bool) {
	t.Helper()
	var last State
	eventually(t, what, func() bool {
		var err error
		last, err = ReadState(t.Context(), p.statePath())
		return err == nil && is(last)
	})
}

func (p *place) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.at.String(), patience)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn.(*net.TCPConn)
}

// talk opens a connection and makes sure that a member is at its other end.
func (p *place) talk(t *testing.T) *net.TCPConn {
	t.Helper()
	conn := p.dial(t)
	exchange(t, conn, "hello")
	return conn
}

// start runs a gateway that is quick to look and otherwise as patient as ever.
func start(t *testing.T, change func(*rig), members ...*member) *rig {
	t.Helper()
	r := &rig{place: newPlace(t, members...), pace: defaultPace(), limit: 1000, ended: make(chan error, 1), wake: make(chan os.Signal, 1)}
	r.pace.poll = 5 * time.Millisecond
	if change != nil {
		change(r)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	o := r.options()
	o.Reload = r.wake
	r.g = newGateway(ctx, o, r.limit, r.pace)
	go func() { r.ended <- r.g.run(ctx) }()
	t.Cleanup(func() { r.end(t) })
	r.until(t, "it serves", func(State) bool { return true })
	return r
}

func (r *rig) end(t *testing.T) {
	t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		must(t, err)
		r.ended <- nil
	case <-time.After(patience):
		t.Error("the gateway does not end")
	}
}

// member is what a gateway leads to: it serves each connection in its own way.
type member struct {
	node     cluster.NodeName
	at       netip.AddrPort
	draining bool
	// restarting, beside draining: it comes back.
	restarting bool
	serve      func(*net.TCPConn)
	listener   net.Listener
	served     atomic.Int32

	mu   sync.Mutex
	open map[*net.TCPConn]bool
}

// echo says what it hears, and hangs up after its client.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
}

func newMember(t *testing.T, node cluster.NodeName, serve func(*net.TCPConn)) *member {
	t.Helper()
	m := &member{node: node, at: netip.AddrPortFrom(ownAddress(), cluster.ClientPort), serve: serve, open: map[*net.TCPConn]bool{}}
	m.listen(t)
	t.Cleanup(m.kill)
	return m
}

func (m *member) listen(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", m.at.String())
	must(t, err)
	m.listener = l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tcp := c.(*net.TCPConn)
			m.served.Add(1)
			m.mu.Lock()
			m.open[tcp] = true
			m.mu.Unlock()
			go func() {
				m.serve(tcp)
				_ = tcp.Close()
				m.mu.Lock()
				delete(m.open, tcp)
				m.mu.Unlock()
			}()
		}
	}()
}

// kill ends it as SIGKILL ends a process.
func (m *member) kill() {
	_ = m.listener.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.open {
		_ = c.Close()
	}
}

func exchange(t *testing.T, conn net.Conn, word string) {
	t.Helper()
	if err := trade(conn, word); err != nil {
		t.Fatal(err)
	}
}

func trade(conn net.Conn, word string) error {
	if _, err := io.WriteString(conn, word); err != nil {
		return err
	}
	return hear(conn, word)
}

func hear(conn net.Conn, word string) error {
	got := make([]byte, len(word))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != word {
		return fmt.Errorf("heard %q, want %q", got, word)
	}
	return nil
}

// mustEnd waits for a FIN, and nothing else before it.
func mustEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	rest, err := io.ReadAll(conn)
	if err != nil || len(rest) > 0 {
		t.Fatalf("the connection should have ended, got %d bytes and %v", len(rest), err)
	}
}

// mustRefuse: a connection is ended at once, maybe before its client has
// noticed that there was one.
func (p *place) mustRefuse(t *testing.T) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.at.String(), patience)
	if err == nil {
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the connection should have been reset, got %v", err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !is() {
		pause(ctx, t, 2*time.Millisecond, what)
	}
}

func pause(ctx context.Context, t *testing.T, d time.Duration, what string) {
	t.Helper()
	select {
	case <-ctx.Done():
		t.Fatalf("it does not happen that %s", what)
	case <-time.After(d):
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// journal keeps a log.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
