package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/test/drive"
)

// TestLeaderKilledAfterEveryEffect has two daemons hand an operation to each other:
// whoever leads is killed right after its first effect that no leader before it was
// killed after, and the one that stands by goes on.
func TestLeaderKilledAfterEveryEffect(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"members", "rolling", "versions", "defrag"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := &killings{pair: newPair(t, 1), killed: map[string]bool{}}
			store := k.etcd.Connect()
			k.start()
			k.set(1, 2, 3)
			k.revision = k.Status().SpecRevision
			for _, op := range k.operations()[what] {
				k.relay(op, store)
			}
			k.acting().OnlyMembersAre("cp1", "cp2", "cp3")
			k.acting().NeverBelowQuorum()
		})
	}
}

// relay goes through an operation.
func (k *killings) relay(op handed, store *clientv3.Client) {
	k.t.Helper()
	op.prepare()
	k.overOnce(&op)
	began := time.Now()
	var killed []string
	k.two[0].Stop()
	k.two[1].Stop()
	k.startAt(k.leader, drive.KillAfterAnother(nil))
	k.leads(k.leader)
	k.startAt(1-k.leader, drive.KillAfterAnother(nil))
	op.begin(k.leader)
	for k.dies(op.over) {
		effects := lines(k.t, k.trace(k.leader))
		if len(effects) == 0 {
			k.t.Fatalf("%s: a leader ended by itself", op.name)
		}
		// None, if it was ready before the other was killed after that.
		killed = append(killed, drive.KilledAfter(effects, killed)...)
		k.leaves(store, k.acting().PID())
		k.startAt(k.leader, drive.KillAfterAnother(killed))
		k.leader = 1 - k.leader
	}
	k.t.Logf("%s: %s with leaders killed after %q", op.name, time.Since(began).Round(time.Millisecond), killed)
	if len(killed) < 2 {
		k.t.Errorf("%s: leaders were killed after %q only", op.name, killed)
	}
	for _, at := range op.at {
		if !slices.Contains(killed, at) {
			k.t.Errorf("%s: no leader was killed after %s", op.name, at)
		}
	}
	k.unarmed()
}

// startAt starts a daemon, or another in the place of one that has died, whose effects
// are noted and that ends as environ says.
func (k *killings) startAt(i int, environ ...string) {
	k.t.Helper()
	k.two[i].Kill()
	if err := os.Remove(k.trace(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
		k.t.Fatal(err)
	}
	k.two[i].StartWith(append(environ, "CKE_EFFECT_TRACE="+k.trace(i)))
}

// unarmed has both daemons run as if nothing had been, with the same leader.
func (k *killings) unarmed() {
	k.t.Helper()
	k.two[1-k.leader].Stop()
	k.two[k.leader].Stop()
	k.two[k.leader].Start()
	k.leads(k.leader)
	k.two[1-k.leader].Start()
}

// leaves takes a daemon that is dead out of the line, as its lease's end would some
// seconds later.
func (k *killings) leaves(store *clientv3.Client, pid int) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), drive.Patience)
	defer cancel()
	resp, err := store.Get(ctx, "/cke/leaders/", clientv3.WithPrefix())
	if err != nil {
		k.t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		var who struct{ PID int }
		if err := json.Unmarshal(kv.Value, &who); err != nil {
			k.t.Fatal(err)
		}
		if who.PID != pid {
			continue
		}
		if _, err := store.Revoke(ctx, clientv3.LeaseID(kv.Lease)); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			k.t.Fatal(err) // else it ended just now
		}
	}
}

// TestLeaderStoppedAfterEveryEffect stops the leader right after one of its effects,
// lets the other daemon finish, and wakes it: whatever it was about to do is refused.
// Here that is a sample, which a seed repeats; the long form is all effects.
func TestLeaderStoppedAfterEveryEffect(t *testing.T) {
	t.Parallel()
	seed := drive.Seed(t)
	for i, what := range []string{"members", "rolling", "versions", "defrag"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := &killings{pair: newPair(t, 1), killed: map[string]bool{}}
			k.start()
			k.set(1, 2, 3)
			k.revision = k.Status().SpecRevision
			k.stopLeaders(k.operations()[what], rand.New(rand.NewPCG(seed, uint64(i))))
			k.acting().NeverBelowQuorum()
		})
	}
}

// stopLeaders goes through operations in turn, over and over.
func (k *killings) stopLeaders(ops []handed, rnd *rand.Rand) {
	k.t.Helper()
	moments, rounds := make([][]string, len(ops)), 0
	for i, op := range ops {
		fixed := slices.ContainsFunc(ops, func(o handed) bool { return o.at != nil })
		switch {
		case op.at != nil:
			moments[i] = op.at
		case !fixed: // once to see how many effects there are
			moments[i] = sampled(k.stopLeader(op, ""), rnd)
		}
		rounds = max(rounds, len(moments[i]))
	}
	for round := range rounds {
		for i, op := range ops {
			at := ""
			if round < len(moments[i]) {
				at = moments[i][round]
			}
			k.stopLeader(op, at)
		}
	}
}

// sampled are the moments to stop at, of the effects an operation had: every one by its
// number, or in the short form two of those that differ.
func sampled(outcomes []string, rnd *rand.Rand) (moments []string) {
	for n, o := range outcomes {
		words := strings.Fields(o)
		if what := words[0] + " " + words[1]; drive.Long() {
			moments = append(moments, strconv.Itoa(n+1))
		} else if !slices.Contains(moments, what) {
			moments = append(moments, what)
		}
	}
	if !drive.Long() {
		rnd.Shuffle(len(moments), func(a, b int) { moments[a], moments[b] = moments[b], moments[a] })
		moments = moments[:min(2, len(moments))]
	}
	return moments
}

// stopLeader goes through an operation whose leader is stopped after an effect, if any
// is named, and says which it had.
func (k *killings) stopLeader(op handed, at string) []string {
	k.t.Helper()
	op.prepare()
	k.overOnce(&op)
	a, b := k.acting(), k.two[1-k.leader]
	outcomes := filepath.Join(a.Dir, "outcomes")
	if err := os.Remove(outcomes); err != nil && !errors.Is(err, os.ErrNotExist) {
		k.t.Fatal(err)
	}
	environ := []string{"CKE_EFFECT_OUTCOMES=" + outcomes}
	if at != "" {
		environ = append(environ, "CKE_EFFECT_STOP="+at)
	}
	b.Stop()
	a.Stop()
	a.StartWith(environ)
	k.leads(k.leader)
	b.Start()
	pid := a.PID()
	op.begin(k.leader)
	if at == "" || !k.stops(a, op.over) {
		k.Eventually(op.name+" is over", func() error { return op.over(a) })
		all := lines(k.t, outcomes)
		k.unarmed()
		k.t.Logf("%s: %d effects, none of them %q", op.name, len(all), at)
		if slices.Contains(op.at, at) {
			k.t.Errorf("%s: no leader was stopped after %s", op.name, at)
		}
		return all
	}
	done := lines(k.t, outcomes)
	k.leader = 1 - k.leader
	k.leads(k.leader)
	k.Eventually(op.name+" is over", func() error { return op.over(b) })
	k.wake(op, 1-k.leader, pid, done)
	k.unarmed()
	return done
}

// stops waits until a daemon is stopped (true), or the operation is over (false).
func (k *killings) stops(e *env, over func(*env) error) bool {
	k.t.Helper()
	stopped := false
	k.Eventually("the leader is stopped or done", func() error {
		if stopped = isStopped(k.t, e.PID()); stopped {
			return nil
		}
		return over(e)
	})
	for stopped && k.worksOnANode(e.PID()) {
		must(k.t, syscall.Kill(e.PID(), syscall.SIGCONT))
		k.Eventually("it is done on the node", func() error {
			if k.worksOnANode(e.PID()) {
				return errors.New("it has its lock")
			}
			return nil
		})
		must(k.t, syscall.Kill(e.PID(), syscall.SIGSTOP))
		k.stopped(e.PID())
	}
	return stopped
}

// worksOnANode: a daemon has the lock of a node, which on a machine of its own the
// helper would have, and give back while the daemon stands still.
func (k *killings) worksOnANode(pid int) bool {
	k.t.Helper()
	files, err := filepath.Glob(filepath.Join(k.Dir, "nodes/*/var/lib/cke/host/lock/*"))
	must(k.t, err)
	b, err := os.ReadFile("/proc/locks")
	must(k.t, err)
	locks := strings.Fields(string(b))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			continue // it is cleaned
		}
		inode := fmt.Sprintf(":%d", info.Sys().(*syscall.Stat_t).Ino)
		for i, word := range locks {
			if word == strconv.Itoa(pid) && i+1 < len(locks) && strings.HasSuffix(locks[i+1], inode) {
				return true
			}
		}
	}
	return false
}

// wake has a daemon go on that is not the leader any more: it changes nothing.
func (k *killings) wake(op handed, i, pid int, done []string) {
	k.t.Helper()
	root := k.connect(k.acting().RootCert(), 1, 2, 3)
	before := k.world(root)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		k.t.Fatal(err)
	}
	k.follows(i)
	woken := lines(k.t, filepath.Join(k.two[i].Dir, "outcomes"))[len(done):]
	k.t.Logf("%s: the leader was stopped after %s; once awake: %q", op.name, done[len(done)-1], woken)
	for _, o := range woken {
		if strings.Contains(o, " host.") && strings.HasSuffix(o, `"<nil>"`) {
			k.t.Errorf("a deposed leader has done %s", o)
		}
	}
	k.acting().Settled()
	if now := k.world(root); now != before {
		k.t.Errorf("%s: it is %s, was %s", op.name, now, before)
	}
	if k.t.Failed() {
		k.t.FailNow()
	}
}

// world is all that a leader could have changed.
func (k *killings) world(root *clientv3.Client) string {
	k.t.Helper()
	s := k.acting().Status()
	m := &mortal{env: k.acting()}
	what := fmt.Sprintf("members %v, spec %d, drains %v, %s", k.members(), s.SpecRevision, s.Drains, m.changes(root))
	m.ask("look at etcd", func(ctx context.Context) error {
		s, err := root.Status(ctx, "https://"+k.addr(1)+":2379")
		if err == nil {
			what += fmt.Sprintf(", downgrade %v", s.DowngradeInfo != nil && s.DowngradeInfo.Enabled)
		}
		return err
	})
	return what
}
