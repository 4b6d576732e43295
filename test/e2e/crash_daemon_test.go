package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cke/internal/api"
	"cke/test/drive"
)

// mortal is an installation whose daemon is killed on purpose.
type mortal struct {
	*env
	walk *walk
	// at is the step kind and the effect after which daemons are killed; empty: by number.
	at string
	// settings are what cluster.yml says more of etcd.
	settings string
	// act, if there is one, is asked of each daemon until one has answered.
	act func() bool
	// dead is called each time the daemon was killed, before the next starts.
	dead func()
	// watch is called while a daemon runs, over and over, and when it has settled.
	watch func()
}

// crash has one daemon after the other killed after its n-th effect, for each n
// of kills, while the spec is changed to these nodes, or left alone with none.
// The last daemon is left alone and finishes. It says whether the first died.
func (m *mortal) crash(kills []int, nodes ...int) bool {
	m.t.Helper()
	edited, revision := len(nodes) == 0 && m.act == nil, int64(0)
	for i, n := range append(append([]int(nil), kills...), 0) {
		at := m.at
		if i == 0 && len(kills) == 1 && at == "" {
			at = m.walk.aim
		}
		m.startMortal(n, at)
		switch {
		case edited:
		case m.act != nil:
			edited = m.act()
		default:
			// A daemon that dies meanwhile may or may not have taken it.
			revision, edited = m.edit(nodes...)
		}
		killed := m.diedOrSettled(revision)
		effects := m.effects()
		if i == 0 {
			m.walk.note(effects, killed)
		}
		if !killed {
			return i > 0
		}
		if n == 0 || at == "" && len(effects) != n {
			m.t.Fatalf("a daemon to be killed after effect %d ended after %d effects: %q", n, len(effects), effects)
		}
		last := effects[len(effects)-1]
		m.t.Logf("killed after %d: %s", len(effects), last)
		m.walk.killed[last] = true
		m.walk.reached.killedAfter(last)
		m.dead()
	}
	m.t.Fatal("the last daemon was killed as well")
	return true
}

// startMortal starts a daemon that is killed after its n-th effect, 0: never, or the
// first of a name.
func (m *mortal) startMortal(n int, at string) {
	m.t.Helper()
	switch {
	case n == 0:
		m.startTraced()
	case at != "":
		m.startTraced("CKE_EFFECT_KILL=" + at)
	default:
		m.startTraced("CKE_EFFECT_KILL=" + strconv.Itoa(n))
	}
}

// startTraced starts a daemon whose effects are noted.
func (m *mortal) startTraced(environ ...string) {
	m.t.Helper()
	if err := os.Remove(m.trace()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	if !m.StartWith(append(environ, "CKE_EFFECT_TRACE="+m.trace())) {
		m.wasKilled()
	}
}

func (m *mortal) trace() string { return filepath.Join(m.Dir, "effects") }

// effects are what the present or last daemon did, in order, each as its step
// kind and effect.
func (m *mortal) effects() []string {
	m.t.Helper()
	b, err := os.ReadFile(m.trace())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}

// edit puts a cluster.yml and returns its revision; false when the daemon died
// before it answered.
func (m *mortal) edit(nodes ...int) (int64, bool) {
	m.t.Helper()
	r := m.Run("ckecli", "cluster", "set", m.Write("cluster.yml", m.withSettings(m.settings, nodes...)), "--output", "json")
	if r.Code == 0 {
		return drive.Decode[api.SpecChange](m.t, r.Stdout).Revision, true
	}
	select {
	case <-m.Ended():
	case <-time.After(drive.Patience):
		m.t.Fatalf("cluster set: exit %d from a daemon that lives\n%s", r.Code, r.Stderr)
	}
	return 0, false
}

// diedOrSettled waits until the daemon was killed (true), or has nothing left to
// do for the spec of this revision (false).
func (m *mortal) diedOrSettled(revision int64) bool {
	m.t.Helper()
	return m.diedOr(func(s api.Status) error {
		if !s.Settled || s.SpecRevision < revision {
			return fmt.Errorf("revision %d is planned for", s.SpecRevision)
		}
		return nil
	})
}

// diedOr waits until the daemon was killed (true), or all is done (false).
func (m *mortal) diedOr(over func(api.Status) error) bool {
	m.t.Helper()
	c := m.Client()
	died := false
	m.Eventually("the daemon is killed or done", func() error {
		select {
		case <-m.Ended():
			died = true
			return nil
		default:
		}
		s, err := c.Status(context.Background(), "main")
		m.watch()
		if err == nil {
			err = over(s)
		}
		if err != nil {
			return fmt.Errorf("%w; plan:\n%s", err, s.Plan)
		}
		return nil
	})
	if died {
		m.wasKilled()
	}
	return died
}

// dies waits until the daemon was killed, which is about to happen.
func (m *mortal) dies() {
	m.t.Helper()
	select {
	case <-m.Ended():
		m.wasKilled()
	case <-time.After(drive.Patience):
		m.t.Fatalf("a daemon lives after %q", m.effects())
	}
}

// wasKilled checks that the daemon ended by SIGKILL and not for a reason of its own.
func (m *mortal) wasKilled() {
	m.t.Helper()
	status, ok := m.ProcessState().Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		m.t.Fatalf("the daemon ended by itself: %s", m.ProcessState())
	}
}
