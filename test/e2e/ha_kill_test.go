package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// TestLeaderKilledInAChange kills the leader right after its first effect in a
// step of each kind. The other daemon, which stands by, goes on, and is killed in
// the next one, until one is left that finishes.
func TestLeaderKilledInAChange(t *testing.T) {
	t.Parallel()
	k := &killings{pair: newPair(t, 1), killed: map[string]bool{}}
	k.start()
	// Units and certificates are installed side by side: one of them here, the other
	// with the fourth member.
	k.chain(func() { k.begin(k.leader, 1, 2, 3) }, k.settledOn(3),
		plan.RecordBootstrap, plan.InstallCertificates, plan.StartMembers, plan.ConfigureAuth, plan.FinishBootstrap)
	root := k.acting().RootCert()
	id := k.acting().Settled().ClusterID
	k.chain(func() { k.begin(k.leader, 1, 2, 3, 4) }, k.settledOn(4), plan.AddLearner, plan.InstallUnits, plan.PromoteLearner)
	l := &living{mortal: &mortal{env: k.env}, cert: root, root: k.connect(root, 1, 2, 3, 4)}
	l.ids = map[string]cluster.MemberID{"cp4": k.acting().MemberID("cp4")}
	l.lead(4)
	k.chain(func() { k.begin(k.leader, 1, 2, 3) }, k.settledOn(3), plan.MoveLeader, plan.RemoveMember, plan.RetireMember, plan.ForgetNode)
	k.acting().CLI("etcd", "user-add", "app", "/app/")
	k.chain(func() { k.asks(k.server(k.leader), "etcd", "user-remove", "app") }, k.settledOn(3), plan.ForgetUser)
	k.acting().OnlyMembersAre("cp1", "cp2", "cp3")
	k.acting().NeverBelowQuorum()
	if now := k.acting().Status().ClusterID; now != id {
		t.Errorf("the cluster is %s, was %s", now, id)
	}
	k.report()
}

// killings are leaders that were killed in turn.
type killings struct {
	*pair
	leader int             // who leads, or is about to
	killed map[string]bool // by step kind
}

func (k *killings) acting() *env { return k.two[k.leader] }

// chain has the leader killed in a step of the first kind, the next in one of the
// second, and so on, until one has done what was left.
func (k *killings) chain(change func(), done func(*env) error, kinds ...plan.Kind) {
	k.t.Helper()
	kinds = append(kinds, "", "")
	k.two[0].Stop()
	k.two[1].Stop()
	k.arm(k.leader, kinds[0])
	k.leads(k.leader)
	k.arm(1-k.leader, kinds[1])
	change()
	for i := 0; k.dies(done); i++ {
		effects := lines(k.t, k.trace(k.leader))
		last, _, _ := strings.Cut(effects[len(effects)-1], " ")
		if last != string(kinds[i]) {
			k.t.Fatalf("the daemon to be killed in %s ended after %q", kinds[i], effects)
		}
		k.killed[last] = true
		k.arm(k.leader, kinds[i+2])
		k.leader = 1 - k.leader
	}
}

// arm starts a daemon that dies in a step of this kind.
func (k *killings) arm(i int, kind plan.Kind) {
	k.t.Helper()
	k.two[i].Kill() // collects one that has died
	if err := os.Remove(k.trace(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
		k.t.Fatal(err)
	}
	environ := []string{"CKE_EFFECT_TRACE=" + k.trace(i)}
	if kind != "" {
		environ = append(environ, "CKE_EFFECT_KILL="+string(kind))
	}
	k.two[i].StartWith(environ)
}

func (k *killings) trace(i int) string { return filepath.Join(k.two[i].Dir, "effects") }

// dies waits until the leader has died (true) or done what it was to do.
func (k *killings) dies(done func(*env) error) bool {
	k.t.Helper()
	died := false
	k.Eventually("the leader dies or is done", func() error {
		select {
		case <-k.acting().Ended():
			died = true
			return nil
		default:
			return done(k.acting())
		}
	})
	return died
}

func (k *killings) settledOn(nodes int) func(*env) error {
	return func(e *env) error {
		s, err := e.Client().Status(context.Background(), "main")
		if err != nil {
			return err
		}
		if !s.Settled || len(s.Nodes) != nodes {
			return fmt.Errorf("%d nodes, plan:\n%s", len(s.Nodes), s.Plan)
		}
		return nil
	}
}

// report fails when a kind of step that a loopback cluster takes was left out.
func (k *killings) report() {
	k.t.Helper()
	k.t.Logf("the leader was killed in steps of these kinds: %v", slices.Sorted(maps.Keys(k.killed)))
	machines := onMachines()
	for _, kind := range constants(k.t, "plan", "Kind") {
		if _, elsewhere := machines[kind]; !elsewhere && !(plan.Step{Kind: plan.Kind(kind)}).Looks() && !k.killed[kind] {
			k.t.Errorf("no leader was killed in a step of kind %s", kind)
		}
	}
}
