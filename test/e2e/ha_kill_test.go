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
	"cke/internal/record"
	"cke/test/drive"
)

// TestLeaderKilledInAChange kills the leader right after its first effect in a
// step of each kind. The other daemon, which stands by, goes on, and is killed in
// the next one, until one is left that finishes.
func TestLeaderKilledInAChange(t *testing.T) {
	t.Parallel()
	for what, walk := range map[string]func(*killings){"members": killedAmidMembers, "rolling": killedAmidRolling, "space": killedAmidSpace} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := &killings{pair: newPair(t, 1), killed: map[string]bool{}}
			k.start()
			walk(k)
			k.acting().NeverBelowQuorum()
			k.report()
		})
	}
}

func killedAmidMembers(k *killings) {
	// Units and certificates are installed side by side: one of them here, the other
	// with the fourth member.
	on := func(nodes ...int) func() {
		// The leader is to be the one that goes, and nobody else's by chance.
		return func() { k.beginWith(k.leader, k.withSettings(steady, nodes...)) }
	}
	k.chain(on(1, 2, 3), k.settledOn(3),
		plan.RecordBootstrap, plan.InstallCertificates, plan.StartMembers, plan.ConfigureAuth, plan.FinishBootstrap)
	root := k.acting().RootCert()
	id := k.acting().Settled().ClusterID
	k.chain(on(1, 2, 3, 4), k.settledOn(4), plan.AddLearner, plan.InstallUnits, plan.PromoteLearner)
	l := &living{mortal: &mortal{env: k.env}, cert: root, root: k.connect(root, 1, 2, 3, 4)}
	l.ids = map[string]cluster.MemberID{"cp4": k.acting().MemberID("cp4")}
	l.lead(4)
	k.chain(on(1, 2, 3), k.settledOn(3), plan.MoveLeader, plan.RemoveMember, plan.RetireMember, plan.ForgetNode)
	k.acting().CLI("etcd", "user-add", "app", "/app/")
	k.chain(func() { k.asks(k.server(k.leader), "etcd", "user-remove", "app") }, k.settledOn(3), plan.ForgetUser)
	k.acting().OnlyMembersAre("cp1", "cp2", "cp3")
	if now := k.acting().Status().ClusterID; now != id {
		k.t.Errorf("the cluster is %s, was %s", now, id)
	}
}

func killedAmidRolling(k *killings) {
	k.set(1, 2, 3)
	change := func(settings string) func() {
		return func() { k.beginWith(k.leader, k.withSettings(settings, 1, 2, 3)) }
	}
	k.chain(change(`extra_args: {max-request-bytes: "2000001"}`), k.settledSince(), plan.RestartMember, plan.FinishRestart)
	k.chain(change(`extra_args: {election-timeout: "60000"}`), func(e *env) error {
		s, err := e.Client().Status(context.Background(), "main")
		if err != nil {
			return err
		}
		for _, r := range s.Plan.Reasons {
			if r.Rule == "settingsFailed" && len(s.Plan.Steps)+len(s.Running) == 0 {
				return nil
			}
		}
		return fmt.Errorf("nothing was rolled back, plan:\n%s", s.Plan)
	}, plan.RollBackMember)
	k.acting().Set(k.withSettings("", 1, 2, 3))
	k.chain(change("version: "+drive.OlderVersion), k.settledSince(), plan.TakeSnapshot, plan.EnableDowngrade)
	k.acting().OnlyMembersAre("cp1", "cp2", "cp3")
}

func killedAmidSpace(k *killings) {
	k.Set(k.etcdYAML("quota: 32MiB", 1, 2, 3))
	k.CLI("etcd", "user-add", "app", "/app/")
	app := k.connect(k.UserCert("app"), 1, 2, 3)
	k.chain(func() { k.FillUp(app, func(n int) string { return fmt.Sprintf("/app/%d", n%4) }) }, func(e *env) error {
		s, err := e.Client().Status(context.Background(), "main")
		if err != nil {
			return err
		}
		h, err := e.Client().History(context.Background(), "main", 100)
		disarmed := slices.ContainsFunc(h, func(r record.Record) bool { return r.Step != nil && r.Step.Kind == plan.DisarmAlarm })
		if err == nil && (!s.Settled || len(s.Alarms) > 0 || !disarmed) {
			err = fmt.Errorf("alarms %v, plan:\n%s", s.Alarms, s.Plan)
		}
		return err
	}, plan.Compact, plan.Defragment, plan.DisarmAlarm)
	k.acting().hasRoom(k.acting().Settled())
}

// killings are leaders that were killed in turn.
type killings struct {
	*pair
	leader int             // who leads, or is about to
	killed map[string]bool // by step kind
	// revision is that of the spec when the last operation was over.
	revision int64
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
	i := 0
	for ; k.dies(done); i++ {
		effects := lines(k.t, k.trace(k.leader))
		last, _, _ := strings.Cut(effects[len(effects)-1], " ")
		if last != string(kinds[i]) {
			k.t.Fatalf("the daemon to be killed in %s ended after %q", kinds[i], effects)
		}
		k.killed[last] = true
		k.arm(k.leader, kinds[i+2])
		k.leader = 1 - k.leader
	}
	if left := kinds[i : len(kinds)-2]; len(left) > 0 {
		k.t.Errorf("no leader was killed in %v", left)
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

// settledSince is for a change that leaves the nodes as they are.
func (k *killings) settledSince() func(*env) error {
	before := k.acting().Status().SpecRevision
	return func(e *env) error {
		s, err := e.Client().Status(context.Background(), "main")
		if err == nil && (!s.Settled || s.SpecRevision == before) {
			err = fmt.Errorf("revision %d, was %d, plan:\n%s", s.SpecRevision, before, s.Plan)
		}
		return err
	}
}

func (k *killings) report() {
	k.t.Helper()
	k.t.Logf("the leader was killed in steps of these kinds: %v", slices.Sorted(maps.Keys(k.killed)))
}
