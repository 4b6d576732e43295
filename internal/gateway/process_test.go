package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain is the gateway itself when a test starts it as a process of its own:
// with files of its own to run out of, and signals.
func TestMain(m *testing.M) {
	if os.Getenv("CKE_GATEWAY_LIST") == "" {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child() error {
	at, err := netip.ParseAddr(os.Getenv("CKE_GATEWAY_LISTEN"))
	if err != nil {
		return err
	}
	limit, err := connectionLimit()
	if err != nil {
		return err
	}
	if s := os.Getenv("CKE_GATEWAY_LIMIT"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := Options{List: os.Getenv("CKE_GATEWAY_LIST"), State: os.Getenv("CKE_GATEWAY_STATE"), Listen: at, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	p := defaultPace()
	if os.Getenv("CKE_GATEWAY_PATIENT") != "" { // with a member that does not answer at once on a busy machine
		p.dial, p.silence = patience, patience
	}
	return newGateway(ctx, o, limit, p).run(ctx)
}

// process is a gateway in another process.
type process struct {
	*place
	cmd   *exec.Cmd
	ended chan error
	once  sync.Once
}

// spawn starts one, after a shell has carried out what is to be so before.
func spawn(t *testing.T, before string, env []string, members ...*member) *process {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	p := &process{place: newPlace(t, members...), ended: make(chan error, 1)}
	p.cmd = exec.Command("/bin/sh", "-c", before+` exec "$0"`, self)
	p.cmd.Env = append(os.Environ(), "CKE_GATEWAY_LIST="+p.listPath(), "CKE_GATEWAY_STATE="+p.statePath(), "CKE_GATEWAY_LISTEN="+p.at.Addr().String())
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, p.cmd.Start())
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() { p.terminate(t) })
	p.until(t, "it serves", func(State) bool { return true })
	return p
}

func (p *process) terminate(t *testing.T) {
	t.Helper()
	p.once.Do(func() {
		must(t, p.cmd.Process.Signal(syscall.SIGTERM))
		select {
		case err := <-p.ended:
			if err != nil {
				t.Errorf("the gateway ended: %v", err)
			}
		case <-time.After(patience):
			t.Error("the gateway does not end")
		}
	})
}

func (p *process) files(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	must(t, err)
	return len(all)
}

// memory is what a process has of it now, in bytes.
func (p *process) memory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	must(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	must(t, err)
	return pages * os.Getpagesize()
}

func TestFourThousandConnections(t *testing.T) {
	const many = 4000
	members := []*member{newMember(t, "a", echo), newMember(t, "b", echo), newMember(t, "c", echo)}
	p := spawn(t, "", []string{"CKE_GATEWAY_PATIENT=1"}, members...)
	exchange(t, p.dial(t), "hello")
	files, memory := p.files(t), p.memory(t)

	conns := make([]net.Conn, many)
	each := func(what string, do func(i int) error) {
		t.Helper()
		next := make(chan int)
		var workers sync.WaitGroup
		for range 64 {
			workers.Go(func() {
				for i := range next {
					if err := do(i); err != nil {
						t.Errorf("%s, connection %d: %v", what, i, err)
					}
				}
			})
		}
		for i := range many {
			next <- i
		}
		close(next)
		workers.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	each("open", func(i int) (err error) {
		conns[i], err = net.Dial("tcp", p.at.String())
		if err != nil {
			return err
		}
		return conns[i].SetDeadline(time.Now().Add(2 * patience))
	})
	large := strings.Repeat("0123456789abcdef", 1024)
	for _, word := range []string{"hello", large} {
		each("speak", func(i int) error { return trade(conns[i], fmt.Sprint(i, word)) })
	}
	p.until(t, "they are spread evenly", func(s State) bool {
		for _, m := range members {
			if n := s.Connections[m.node]; n < many/3 || n > many/3+2 {
				return false
			}
		}
		return s.Accepted == many+1 && s.Refused == 0 && s.Failed == 0
	})
	t.Logf("%d connections: %d files, %d bytes of memory each", many, p.files(t)-files, (p.memory(t)-memory)/many)

	// Half of them go; all others live on.
	each("close", func(i int) error {
		if i%2 == 0 {
			return conns[i].Close()
		}
		return trade(conns[i], "still there")
	})
	each("close", func(i int) error {
		if i%2 == 0 {
			return nil
		}
		return conns[i].Close()
	})
	eventually(t, "every file is given back", func() bool { return p.files(t) <= files })
}

// Two files each, and some for the gateway itself. The hard limit falls too:
// the soft one alone would be raised.
func TestMoreConnectionsThanFiles(t *testing.T) {
	t.Parallel()
	const room = 20
	a := newMember(t, "a", echo)
	p := spawn(t, fmt.Sprintf("ulimit -n %d;", reserved+2*room), nil, a)
	var open []*net.TCPConn
	for range room {
		open = append(open, p.talk(t))
	}
	for range 5 {
		p.mustRefuse(t)
	}
	for _, c := range open {
		exchange(t, c, "still there")
	}
	if s := p.state(t); s.Accepted != room || s.Refused != 5 || s.Failed != 0 {
		t.Errorf("got %+v", s)
	}
	if n := strings.Count(p.log.String(), "connections are refused"); n != 1 {
		t.Errorf("the log tells of it %d times", n)
	}
	must(t, open[0].Close())
	p.until(t, "there is room again", func(s State) bool { return s.Connections["a"] == room-1 })
	p.talk(t)
}

// Should the files run out all the same, those who have theirs do not notice.
func TestNoFileToAcceptWith(t *testing.T) {
	t.Parallel()
	a := newMember(t, "a", echo)
	p := spawn(t, "ulimit -n 80;", []string{"CKE_GATEWAY_LIMIT=1000"}, a)
	first := p.talk(t)
	var more []*net.TCPConn
	for range 200 {
		more = append(more, p.dial(t)) // the kernel takes them
	}
	eventually(t, "the files have run out", func() bool { return strings.Contains(p.log.String(), "is not accepted yet") })
	exchange(t, first, "still there")
	for _, c := range more {
		reset(c)
	}
	eventually(t, "there are files again", func() bool {
		conn, err := net.Dial("tcp", p.at.String())
		if err != nil {
			return false
		}
		defer conn.Close()
		return conn.SetDeadline(time.Now().Add(patience)) == nil && trade(conn, "hello") == nil
	})
	exchange(t, first, "still there")
	if n := strings.Count(p.log.String(), "is not accepted yet"); n != 1 {
		t.Errorf("the log tells of it %d times", n)
	}
	if s := p.state(t); !s.Healthy["a"] {
		t.Error("a member is blamed for it")
	}
}

func TestSIGTERMEndsItProperly(t *testing.T) {
	t.Parallel()
	notified, path := notifySocket(t)
	a := newMember(t, "a", echo)
	p := spawn(t, "", []string{"NOTIFY_SOCKET=" + path}, a)
	if got := <-notified; got != "READY=1" {
		t.Errorf("systemd hears %q", got)
	}
	conn := p.talk(t)
	p.terminate(t)
	mustEnd(t, conn)
	if got := <-notified; got != "STOPPING=1" {
		t.Errorf("systemd hears %q", got)
	}
	if c, err := net.Dial("tcp", p.at.String()); err == nil {
		must(t, c.Close())
		t.Error("the port still answers")
	}
}

func notifySocket(t *testing.T) (heard chan string, path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	path = filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	heard = make(chan string, 10)
	go func() {
		b := make([]byte, 100)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			heard <- string(b[:n])
		}
	}()
	return heard, path
}

// Whoever has asked before SIGTERM gets the answer.
func TestTheEndWaitsForAnOpenQuestion(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	a := newMember(t, "a", answering(answer))
	r := start(t, func(r *rig) { r.pace.drain, r.pace.afterQuestion = time.Hour, time.Hour }, a)
	conn := r.dial(t)
	_, err := io.WriteString(conn, "what?")
	must(t, err)
	eventually(t, "it is asked", r.asked)
	r.stop()
	eventually(t, "nobody new is taken", func() bool {
		c, err := net.Dial("tcp", r.at.String())
		if err == nil {
			reset(c.(*net.TCPConn))
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	close(answer)
	must(t, hear(conn, "this"))
	r.endLate(t)
	mustEnd(t, conn)
	r.end(t)
}
