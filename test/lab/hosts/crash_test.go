package hosts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"cke/test/drive"
	"cke/test/lab"
)

// TestKilledAfterEffects kills the daemon right after one of its effects, in
// founding, adding, removing, and rebuilding on machines; the next one finishes
// the job. Here it is a sample that a seed repeats; the long form is all of it.
func TestKilledAfterEffects(t *testing.T) {
	seed := drive.Seed(t)
	rnd := rand.New(rand.NewPCG(seed, 3))
	e := newEnv(t, 4, lab.DataDisk("1G"))

	founding := e.killed("found", rnd, 2, func() bool { return e.set(1, 2, 3) }, e.bare)
	t.Logf("a founding has %d effects", founding)
	e.killed("add and remove", rnd, 3, func() bool { return e.set(1, 2, 4) }, func() {
		e.Start()
		e.Set(e.yaml(1, 2, 3))
		e.Kill()
	})
	e.Start()
	e.NeverBelowQuorum()
}

// set puts a spec and waits until it is so or the daemon has been killed; false
// in the latter case.
func (e *env) set(nodes ...int) bool {
	e.t.Helper()
	revision := int64(0)
	alive := true
	e.Within(2*drive.Patience, "the daemon settles or dies", func() error {
		select {
		case <-e.Ended():
			alive = false
			return nil
		default:
		}
		if revision == 0 {
			change, err := e.Client().PutSpec(e.t.Context(), "cluster.yml", []byte(e.yaml(nodes...)))
			if err != nil {
				return err
			}
			revision = change.Revision
		}
		s, err := e.Client().Status(e.t.Context(), "main")
		if err != nil {
			return err
		}
		if !s.Settled || s.SpecRevision < revision {
			return fmt.Errorf("plan:\n%s", s.Plan)
		}
		return nil
	})
	return alive
}

// killed makes a change again and again, each time with a daemon that is killed
// after another effect, until the daemon survives it or the sample is through.
// It returns how many effects the change has at least.
func (e *env) killed(what string, rnd *rand.Rand, sample int, change func() bool, again func()) int {
	e.t.Helper()
	most := 0
	at := func(n int) bool {
		again()
		trace := e.Write("trace", "")
		began := time.Now()
		e.StartWith([]string{"CKE_EFFECT_KILL=" + strconv.Itoa(n), "CKE_EFFECT_TRACE=" + trace})
		died := !change()
		e.Kill()
		e.Start()
		if !change() {
			e.t.Fatal("the daemon ended although nobody killed it")
		}
		e.whole()
		b, err := os.ReadFile(trace)
		e.must(err)
		effects := countLines(b)
		most = max(most, effects)
		e.t.Logf("%s, killed after effect %d (%v): whole again after %s", what, n, died, time.Since(began).Round(time.Millisecond))
		e.Kill()
		return died
	}
	if drive.Long() {
		for n := 1; at(n); n++ {
		}
		return most
	}
	for range sample {
		at(1 + rnd.IntN(12))
	}
	return most
}

func countLines(b []byte) int {
	n := 0
	for _, c := range b {
		if c == '\n' {
			n++
		}
	}
	return n
}

// whole checks that there is one cluster, founded once, on three machines.
func (e *env) whole() {
	e.t.Helper()
	s := e.Settled()
	voters := 0
	for _, n := range s.Nodes {
		if n.Member != nil && n.Member.Healthy && !n.Member.Learner {
			voters++
		}
	}
	if voters != 3 || !s.AuthOn {
		e.t.Errorf("%d voters, auth %v", voters, s.AuthOn)
	}
	founded := 0
	for _, r := range e.History() {
		if r.Step != nil && r.Step.Bootstrap != nil {
			founded++
		}
	}
	if founded != 1 {
		e.t.Errorf("the founding was finished %d times", founded)
	}
}

// bare makes the machines and CKE's store as if nothing had been.
func (e *env) bare() {
	e.t.Helper()
	for i := 1; i <= 4; i++ {
		e.sh(i, `systemctl stop etcd-main.service 2>/dev/null; systemctl disable -q etcd-main.service 2>/dev/null
rm -rf /etc/systemd/system/etcd-main.service /etc/cke /var/lib/cke/host /var/lib/cke/etcd-aside /var/lib/cke/etcd/main; systemctl daemon-reload; true`)
	}
	if err := errors.Join(os.RemoveAll(e.Dir+"/state"), os.RemoveAll(e.Dir+"/seal.key")); err != nil {
		e.t.Fatal(err)
	}
}
