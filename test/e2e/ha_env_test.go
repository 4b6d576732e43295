package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/api"
	"cke/test/drive"
)

// pair is two daemons with one store. Their nodes are the same processes on this
// machine, as if both reached them over SSH.
type pair struct {
	*env // the first daemon's
	two  [2]*env
	etcd *drive.Store
}

func newPair(t *testing.T, members int) *pair {
	t.Helper()
	store := drive.NewStore(t, members, "127.0.0.1")
	p := &pair{etcd: store}
	p.env = &env{Installation: drive.New(t, "interval: 2s\n"+store.Config()), t: t, net: drive.FreeNet(t)}
	t.Cleanup(p.end)
	p.two[0], p.two[1] = p.env, p.second(t, store.Config())
	return p
}

// second prepares another daemon with the nodes and the key of the first.
func (p *pair) second(t *testing.T, store string) *env {
	t.Helper()
	dir := filepath.Join(p.Dir, "second")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	e := p.at(dir)
	e.Write("config.yml", fmt.Sprintf(`data_dir: %[2]s/state
key_file: %[1]s/seal.key
socket: %[2]s/cke.sock
local: {root: %[1]s/nodes, releases: %[1]s/releases}
interval: 2s
%[3]s`, p.Dir, dir, store))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the second daemon's log:\n%s", drive.LastLines(e.Log, 80))
		}
		e.Kill()
	})
	return e
}

// start has both run, the first as the leader.
func (p *pair) start() {
	p.t.Helper()
	p.two[0].Start()
	p.leads(0)
	p.two[1].Start()
}

// leads waits until a daemon says that it is the leader itself and answers as
// one, and returns after how long that was.
func (p *pair) leads(i int) time.Duration {
	p.t.Helper()
	began := time.Now()
	p.Eventually(fmt.Sprintf("daemon %d leads", i), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		l, err := p.two[i].Client().Leader(ctx)
		if err == nil && !l.Self {
			err = fmt.Errorf("pid %d leads", l.PID)
		}
		if err == nil {
			_, err = p.two[i].Client().Clusters(ctx)
		}
		return err
	})
	return time.Since(began)
}

// follows waits until a daemon refuses what only a leader answers.
func (p *pair) follows(i int) {
	p.t.Helper()
	p.Eventually(fmt.Sprintf("daemon %d follows", i), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := p.two[i].Client().Status(ctx, "main")
		var e *api.Error
		if !errors.As(err, &e) || e.Code != api.CodeNotLeader {
			return fmt.Errorf("it answers %v", err)
		}
		return nil
	})
}

// begin asks a daemon for a change, and does not wait for its answer: it may be
// stopped before it gives one.
func (p *pair) begin(i int, nodes ...int) {
	p.t.Helper()
	p.beginWith(i, p.clusterYAML(nodes...))
}

func (p *pair) beginWith(i int, yaml string) {
	p.t.Helper()
	p.beginAsking(i, "cluster", "set", p.two[i].Write("cluster.yml", yaml))
}

func (p *pair) beginAsking(i int, args ...string) {
	p.t.Helper()
	cmd := p.two[i].Command(nil, "ckecli", args...)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // the daemon's answer does not matter
	}()
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL) // it has ended, most likely
		<-done
	})
}

// followed is a command under way and the file it writes to.
type followed struct {
	cmd   *exec.Cmd
	path  string
	ended <-chan struct{}
}

// follow starts a prepared command.
func (p *pair) follow(cmd *exec.Cmd) *followed {
	p.t.Helper()
	out, err := os.CreateTemp(p.Dir, "output-")
	must(p.t, err)
	cmd.Stdout, cmd.Stderr = out, out
	must(p.t, errors.Join(cmd.Start(), out.Close()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its state
	}()
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, most likely
		<-ended
	})
	return &followed{cmd, out.Name(), ended}
}

func (f *followed) text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(f.path)
	must(t, err)
	return string(b)
}

// says is a condition: the command has written this.
func (f *followed) says(what string) func() error {
	return func() error {
		b, err := os.ReadFile(f.path)
		if err == nil && !strings.Contains(string(b), what) {
			err = fmt.Errorf("it says only\n%s", drive.LastLines(f.path, 20))
		}
		return err
	}
}

// over is a condition: the command has ended.
func (f *followed) over() error {
	select {
	case <-f.ended:
		return nil
	default:
		return fmt.Errorf("it goes on:\n%s", drive.LastLines(f.path, 20))
	}
}

// stopped waits until a process has stopped.
func (p *pair) stopped(pid int) {
	p.t.Helper()
	p.Eventually("the daemon has stopped itself", func() error {
		if !isStopped(p.t, pid) {
			return errors.New("it runs")
		}
		return nil
	})
}

func isStopped(t *testing.T, pid int) bool {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "T")
}

// lines are the lines of a file that need not be there.
func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}

// asks runs ckecli with these servers in place of the installation's own.
func (p *pair) asks(servers string, args ...string) drive.Result {
	p.t.Helper()
	return p.Finish(p.commandFor(servers, args...))
}

func (p *pair) commandFor(servers string, args ...string) *exec.Cmd {
	p.t.Helper()
	return p.Command([]string{"CKE_SERVER=" + servers}, "ckecli", args...)
}

func (p *pair) server(i int) string { return "unix://" + filepath.Join(p.two[i].Dir, "cke.sock") }
