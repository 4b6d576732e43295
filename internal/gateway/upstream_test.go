package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		all  []candidate
		want int
	}{
		"none":                             {nil, -1},
		"the only one":                     {[]candidate{{draining: true, down: true, open: 9}}, 0},
		"the fewest":                       {[]candidate{{open: 2}, {open: 1}, {open: 3}}, 1},
		"one that answers":                 {[]candidate{{down: true}, {open: 100}}, 1},
		"one that does not rather than":    {[]candidate{{draining: true}, {down: true, open: 9}}, 1},
		"one that goes but answers":        {[]candidate{{draining: true, down: true}, {draining: true, open: 9}}, 1},
		"the fewest of those without hope": {[]candidate{{down: true, open: 2}, {down: true, open: 1}}, 1},
	} {
		if got := choose(c.all, func(int) int { return 1 }); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	// Of equals each is drawn with the same chance: the n-th takes the lot of n.
	var lots []int
	choose([]candidate{{}, {open: 1}, {}, {}}, func(n int) int { lots = append(lots, n); return 0 })
	if fmt.Sprint(lots) != "[2 3]" {
		t.Errorf("the lots are %v", lots)
	}
}

func TestConnectionsAreSpreadEvenly(t *testing.T) {
	t.Parallel()
	members := []*member{newMember(t, "a", echo), newMember(t, "b", echo), newMember(t, "c", echo)}
	r := start(t, nil, members...)
	var all sync.WaitGroup
	for range 99 {
		conn := r.dial(t)
		all.Go(func() {
			if err := trade(conn, "hello"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := r.state(t)
	for _, m := range members {
		if s.Connections[m.node] != 33 {
			t.Errorf("the connections are %v", s.Connections)
		}
	}
}

func TestADeadMemberIsLeftAndFoundAgain(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a", echo), newMember(t, "b", echo)
	r := start(t, func(r *rig) { r.pace.probeMin, r.pace.probeMax = time.Millisecond, 10*time.Millisecond }, a, b)
	busy := r.talk(t)
	if r.state(t).Connections["a"] == 1 {
		a, b = b, a
	}
	a.kill() // the one with no connection, so that it is tried first
	exchange(t, r.dial(t), "hello")
	r.until(t, "it is known", func(s State) bool { return !s.Healthy[a.node] && s.Healthy[b.node] && s.Failed == 0 })
	exchange(t, r.dial(t), "hello")
	exchange(t, busy, "hello")
	a.listen(t)
	r.until(t, "it is found again", func(s State) bool { return s.Healthy[a.node] })
	for range 3 {
		r.talk(t)
	}
	if s := r.state(t); s.Connections[a.node] == 0 {
		t.Errorf("it gets no connection: %v", s.Connections)
	}
	if n := strings.Count(r.log.String(), "an upstream is avoided"); n != 1 {
		t.Errorf("its death is logged %d times", n)
	}
}

// That a member did not answer is a hint, and never why a client is refused.
func TestMembersThatDidNotAnswerAreTriedAllTheSame(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a", echo), newMember(t, "b", echo)
	r := start(t, func(r *rig) { r.pace.probeMin, r.pace.probeMax = time.Hour, time.Hour }, a, b)
	a.kill()
	b.kill()
	r.mustRefuse(t)
	r.until(t, "both are known", func(s State) bool { return !s.Healthy["a"] && !s.Healthy["b"] && s.Failed == 1 })
	b.listen(t)
	exchange(t, r.dial(t), "hello")
	r.until(t, "it answers again", func(s State) bool { return !s.Healthy["a"] && s.Healthy["b"] })
}

// A machine that swallows packets answers a dial with nothing at all; here one
// whose queue is full.
func TestAMemberThatDoesNotAnswerADialCostsOneOfThem(t *testing.T) {
	t.Parallel()
	hole := &member{node: "a", at: fullQueue(t)}
	b := newMember(t, "b", echo)
	// As for the silence below: long enough for the other to answer in on a busy machine.
	r := start(t, func(r *rig) { r.pace.dial = 2 * time.Second }, hole, b)
	r.talk(t)
	r.talk(t) // one of them was led to the hole first
	r.until(t, "it is known", func(s State) bool { return !s.Healthy["a"] && s.Connections["b"] == 2 && s.Failed == 0 })
}

// fullQueue is an address where a listener never accepts and can queue no more.
func fullQueue(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Close(fd)) })
	a := ownAddress()
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Port: cluster.ClientPort, Addr: a.As4()}))
	must(t, unix.Listen(fd, 0))
	at := netip.AddrPortFrom(a, cluster.ClientPort)
	for range 10 {
		conn, err := net.DialTimeout("tcp", at.String(), time.Second)
		if errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
			return at
		}
		must(t, err)
		t.Cleanup(func() { must(t, conn.Close()) })
	}
	t.Fatal("the queue is never full")
	return at
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// A machine whose etcd is stopped still takes connections. With the fewest of
// all it would get every new one.
func TestAMemberThatTakesConnectionsAndSaysNothing(t *testing.T) {
	t.Parallel()
	awake := make(chan struct{})
	a := newMember(t, "a", func(c *net.TCPConn) {
		<-awake
		echo(c)
	})
	b := newMember(t, "b", echo)
	r := start(t, func(r *rig) { r.pace.silence, r.pace.muteMin = 2*time.Second, time.Hour }, b)
	r.talk(t)
	r.talk(t)
	r.apply(t, a, b)
	patient := r.dial(t) // it asks nothing, and is waited for
	r.until(t, "it is with the silent one", func(s State) bool { return s.Connections["a"] == 1 })
	conn := r.dial(t)
	_, err := conn.Write([]byte("hello"))
	must(t, err)
	mustEnd(t, conn)
	r.until(t, "it is known", func(s State) bool { return !s.Healthy["a"] && s.Healthy["b"] })
	exchange(t, r.dial(t), "hello")

	close(awake)
	exchange(t, patient, "hello") // its word shows that a is well again
	r.until(t, "it is heard", func(s State) bool { return s.Healthy["a"] })
}

// With nowhere else to go, even a silent member is better than none.
func TestTheOnlyMemberMaySayNothing(t *testing.T) {
	t.Parallel()
	awake := make(chan struct{})
	a := newMember(t, "a", func(c *net.TCPConn) {
		<-awake
		echo(c)
	})
	r := start(t, func(r *rig) { r.pace.silence = time.Millisecond }, a)
	conn := r.dial(t)
	_, err := conn.Write([]byte("hello"))
	must(t, err)
	eventually(t, "it was looked at", func() bool {
		r.g.endUnanswered()
		r.g.mu.Lock()
		defer r.g.mu.Unlock()
		for p := range r.g.pairs {
			return p.asked.Load() != 0 && time.Duration(p.now()-p.asked.Load()) > 10*r.pace.silence
		}
		return false
	})
	close(awake)
	must(t, hear(conn, "hello"))
}

func TestTheKernelWatchesOverUpstreams(t *testing.T) {
	t.Parallel()
	a := newMember(t, "a", echo)
	r := start(t, nil, a)
	r.talk(t)
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	for p := range r.g.pairs {
		raw, err := p.upstream.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) {
			for _, o := range []struct{ level, option, want int }{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 3},
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1},
				{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 6000},
			} {
				if got, err := unix.GetsockoptInt(int(fd), o.level, o.option); err != nil || got != o.want {
					t.Errorf("option %d is %d, want %d: %v", o.option, got, o.want, err)
				}
			}
		}))
	}
}

func TestWhoseFailureItIs(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{syscall.EMFILE: true, syscall.EADDRNOTAVAIL: true, syscall.ECONNREFUSED: false, syscall.ETIMEDOUT: false} {
		if got := ours(&net.OpError{Err: os.NewSyscallError("connect", err)}); got != want {
			t.Errorf("%v: ours = %v", err, got)
		}
	}
}
