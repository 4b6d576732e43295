package remote

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/host/remote/sshtest"
)

// waits is a call that goes on until it is ended.
func waits(ctx context.Context, h host.Host) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- h.WaitUnit(ctx, "main", false) }()
	return ended
}

func within(t testing.TB, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatalf("not over within %s", patience)
		return nil
	}
}

// underWay waits until the connection to a node carries one call.
func underWay(t testing.TB, hosts *Hosts, n cluster.Node) {
	t.Helper()
	m, err := hosts.machine(n)
	must(t, err)
	eventually(t, "the call is on its way", func() bool {
		m.link.mu.Lock()
		defer m.link.mu.Unlock()
		c := m.link.conn
		return c != nil && c.alive() && c.users.Load() == 1
	})
}

func TestFirstCallsShareOneConnection(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	m := newMachine(t, sshtest.Options{Run: forced(root)})
	_, h := reach(t, m.options(t), m.Node("cke"))
	var g errgroup.Group
	for range 50 {
		g.Go(func() error { _, err := facts(t.Context(), h); return err })
	}
	must(t, g.Wait())
	if n := m.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A call under way ends with the connection and is not sent again; the next
// call goes over a new one.
func TestConnectionIsMadeAgain(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{Run: forced(t.TempDir())})
	hosts, h := reach(t, m.options(t), m.Node("cke"))
	_, err := facts(t.Context(), h)
	must(t, err)
	for i := range 3 {
		ended := waits(t.Context(), h)
		underWay(t, hosts, m.Node("cke"))
		n := m.Accepted()
		m.Cut()
		if err := within(t, ended); !errors.Is(err, host.ErrSessionEnded) || !strings.Contains(err.Error(), m.Address().String()) {
			t.Fatalf("got %v", err)
		}
		if m.Accepted() != n {
			t.Fatal("the call that was cut off was sent again")
		}
		if i == 0 { // the next call waits a moment for the next connection
			_, err := facts(t.Context(), h)
			must(t, err)
		}
		eventually(t, "the next call is answered", func() bool { _, err := facts(t.Context(), h); return err == nil })
	}
}

// Nobody is home: each call says so at once, and when it is tried again, and
// between attempts nothing is tried.
func TestBackoff(t *testing.T) {
	t.Parallel()
	// At an address of its own, so that nobody takes its port before it is back.
	own := netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(250)), byte(1 + rand.IntN(250))})
	m := newMachine(t, sshtest.Options{Run: forced(t.TempDir()), Address: netip.AddrPortFrom(own, 0)})
	o := m.options(t)
	o.clock = clock{}.orDefault()
	o.clock.first, o.clock.most = time.Hour, 4*time.Hour
	must(t, m.Close())
	hosts, h := reach(t, o, m.Node("cke"))
	machine, err := hosts.machine(m.Node("cke"))
	must(t, err)
	for _, wait := range []time.Duration{time.Hour, 2 * time.Hour, 4 * time.Hour, 4 * time.Hour, 4 * time.Hour} {
		asked := time.Now()
		_, err := facts(t.Context(), h)
		var u *host.UnreachableError
		if !errors.As(err, &u) || !strings.Contains(err.Error(), "connection refused; the next try is at ") {
			t.Fatalf("got %v", err)
		}
		if early, late := asked.Add(wait), time.Now().Add(wait); u.Next.Before(early) || u.Next.After(late) {
			t.Errorf("the next try is %s after the call, want %s", u.Next.Sub(asked), wait)
		}
		if _, again := facts(t.Context(), h); again == nil || again.Error() != err.Error() {
			t.Fatalf("the next call says %v, not %v", again, err)
		}
		machine.link.mu.Lock()
		machine.link.next = time.Now() // its time has come
		machine.link.mu.Unlock()
	}

	// The machine is back. A person does not wait for the next try.
	var u *host.UnreachableError
	if _, err := facts(t.Context(), h); !errors.As(err, &u) {
		t.Fatal(err)
	}
	back, err := sshtest.Start(sshtest.Options{Run: forced(t.TempDir()), Address: m.Address(), Refuse: true})
	must(t, err)
	defer back.Close()
	hosts.Retry(m.Node("cke"))
	if _, err := facts(t.Context(), h); err == nil || strings.Contains(err.Error(), "refused;") {
		t.Errorf("after Retry: %v", err)
	}
	if n := back.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// One caller that gives up does not end the attempt of all, and waits no longer
// than it wants to.
func TestAttemptOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	m := newMachine(t, sshtest.Options{Run: func(user, command string) *exec.Cmd {
		<-let
		return forced(t.TempDir())(user, command)
	}})
	_, h := reach(t, m.options(t), m.Node("cke"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := facts(ctx, h)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connect to cke@127.0.0.1:") {
		t.Fatalf("got %v", err)
	}
	second := make(chan error, 1)
	go func() { _, err := facts(t.Context(), h); second <- err }()
	close(let)
	must(t, within(t, second))
	if n := m.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A machine that hangs takes connections and says nothing.
func TestMachineThatHangsAtTheBanner(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	m := newMachine(t, sshtest.Options{Run: forced(t.TempDir())})
	o := m.options(t)
	o.clock = clock{}.orDefault()
	o.clock.login = 100 * time.Millisecond
	at := netip.MustParseAddrPort(l.Addr().String())
	_, h := reach(t, o, cluster.Node{Address: at.Addr(), Port: at.Port(), User: "cke"})
	if _, err := facts(t.Context(), h); err == nil || !strings.Contains(err.Error(), "the handshake is not over after 100ms") {
		t.Fatalf("got %v", err)
	}
}

func TestHelperThatNeverGreets(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{Run: func(string, string) *exec.Cmd { return exec.Command("cat") }})
	o := m.options(t)
	o.clock = clock{}.orDefault()
	o.clock.greet = 100 * time.Millisecond
	_, h := reach(t, o, m.Node("cke"))
	if _, err := facts(t.Context(), h); err == nil || !strings.Contains(err.Error(), "the helper does not greet within 100ms") {
		t.Fatalf("got %v", err)
	}
}

// A machine that hangs behind the login keeps nobody for ever.
func TestMachineThatHangsBehindTheLogin(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{Mute: true})
	o := m.options(t)
	o.clock = clock{}.orDefault()
	o.clock.greet = 100 * time.Millisecond
	_, h := reach(t, o, m.Node("cke"))
	ended := make(chan error, 1)
	go func() { _, err := facts(t.Context(), h); ended <- err }()
	if err := within(t, ended); err == nil || !strings.Contains(err.Error(), "the helper does not greet within 100ms") {
		t.Fatalf("got %v", err)
	}
}

func TestNoiseBeforeTheGreeting(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{Run: func(string, string) *exec.Cmd {
		return exec.Command("sh", "-c", "echo 'Last login: never'; printf 'motd> '; exec "+filepath.Join(programs, "cke-host")+" serve --root "+t.TempDir())
	}})
	_, h := reach(t, m.options(t), m.Node("cke"))
	_, err := facts(t.Context(), h)
	must(t, err)
}

// A power cut closes nothing: no byte comes any more. The calls that wait end.
func TestMachineThatIsGoneWithoutAWord(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{Run: forced(t.TempDir())})
	w := newWire(t, m.Address())
	o := m.options(t)
	o.clock = clock{}.orDefault()
	if most := o.clock.silence + time.Second; most > 10*time.Second || o.clock.ping >= o.clock.silence/2 {
		t.Errorf("it takes %s", most)
	}
	// Long enough for a machine that is busy with other tests to answer in.
	o.clock.ping, o.clock.silence = 50*time.Millisecond, 3*time.Second
	_, h := reach(t, o, cluster.Node{Address: w.at.Addr(), Port: w.at.Port(), User: "cke"})
	ended := waits(t.Context(), h)
	select {
	case err := <-ended:
		t.Fatalf("a machine that answers keepalives is given up: %v", err)
	case <-time.After(o.clock.silence + time.Second):
	}
	w.cut()
	if err := within(t, ended); !errors.Is(err, host.ErrSessionEnded) || !strings.Contains(err.Error(), "nothing came for") {
		t.Fatalf("got %v", err)
	}
}

// Whoever stood still himself has not read yet what came meanwhile.
func TestALookThatComesLateGivesNobodyUp(t *testing.T) {
	t.Parallel()
	clk := clock{}.orDefault()
	for _, c := range []struct {
		silent, since time.Duration
		want          bool
	}{
		{clk.silence, time.Second, false},
		{clk.silence + time.Second, time.Second, true},
		{clk.silence + time.Second, 2 * time.Second, true},
		{clk.silence + time.Second, clk.silence, false},
		{time.Hour, time.Hour, false},
		{time.Hour, time.Second, true},
	} {
		if got := clk.tooSilent(c.silent, c.since); got != c.want {
			t.Errorf("silent for %s, %s after the look before: %v", c.silent, c.since, got)
		}
	}
}

// wire is a cable to a machine that can be cut.
type wire struct {
	at   netip.AddrPort
	mu   sync.Mutex
	dead bool
}

func newWire(t testing.TB, to netip.AddrPort) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	w := &wire{at: netip.MustParseAddrPort(l.Addr().String())}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to.String())
			if err != nil {
				return
			}
			t.Cleanup(func() { _, _ = near.Close(), far.Close() })
			go w.copy(near, far)
			go w.copy(far, near)
		}
	}()
	return w
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
}

func (w *wire) copy(to io.Writer, from io.Reader) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		w.mu.Lock()
		dead := w.dead
		w.mu.Unlock()
		if dead {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestConnectionNobodyUsesEnds(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{Run: forced(t.TempDir())})
	o := m.options(t)
	o.clock = clock{}.orDefault()
	o.clock.ping, o.clock.idle, o.clock.most = 10*time.Millisecond, time.Second, 0
	hosts, h := reach(t, o, m.Node("cke"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := waits(ctx, h)
	select {
	case err := <-ended:
		t.Fatalf("a connection in use ended: %v", err)
	case <-time.After(2 * o.clock.idle):
	}
	cancel()
	within(t, ended)
	machine, err := hosts.machine(m.Node("cke"))
	must(t, err)
	eventually(t, "it ends", func() bool {
		machine.link.mu.Lock()
		defer machine.link.mu.Unlock()
		return !machine.link.conn.alive()
	})
	_, err = facts(t.Context(), h)
	must(t, err)
	if n := m.Accepted(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestKeepEndsOnlyTheOthers(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{Run: forced(t.TempDir())})
	hosts, cke := reach(t, m.options(t), m.Node("cke"))
	ops, err := hosts.Host(m.Node("ops"))
	must(t, err)
	stays, goes := waits(t.Context(), cke), waits(t.Context(), ops)
	eventually(t, "both are connected", func() bool { return m.Accepted() == 2 })
	must(t, hosts.Keep([]cluster.Node{m.Node("cke")}))
	if err := within(t, goes); err == nil {
		t.Error("the call is answered")
	}
	if _, err := facts(t.Context(), ops); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
	_, err = facts(t.Context(), cke)
	must(t, err)
	if m.Accepted() != 2 {
		t.Error("the other connection was made again")
	}
	select {
	case err := <-stays:
		t.Errorf("the other call ended: %v", err)
	default:
	}
	// The same machine under other access data is another connection.
	again, err := hosts.Host(m.Node("ops"))
	must(t, err)
	_, err = facts(t.Context(), again)
	must(t, err)
}

// Nothing is left after Close: not of connections, not of attempts.
func TestCloseLeavesNothing(t *testing.T) {
	m := newMachine(t, sshtest.Options{Run: forced(t.TempDir())})
	stuck, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer stuck.Close()
	at := netip.MustParseAddrPort(stuck.Addr().String())
	hosts := New(m.options(t))
	h, err := hosts.Host(m.Node("cke"))
	must(t, err)
	hung, err := hosts.Host(cluster.Node{Address: at.Addr(), Port: at.Port(), User: "cke"})
	must(t, err)
	_, err = facts(t.Context(), h)
	must(t, err)
	calls := []<-chan error{waits(t.Context(), h), waits(t.Context(), hung)}
	<-time.After(50 * time.Millisecond) // they are on their way
	must(t, hosts.Close())
	for _, c := range calls {
		if err := within(t, c); err == nil {
			t.Error("a call is answered")
		}
	}
	eventually(t, "no goroutine is left", func() bool {
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		return !strings.Contains(string(all), "remote.(*conn)") && !strings.Contains(string(all), "remote.(*link)") && !strings.Contains(string(all), "ssh.(*Client)")
	})
	if _, err := hosts.Host(m.Node("cke")); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}
