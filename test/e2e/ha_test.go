package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/test/drive"
)

// TestHandOver has two daemons take turns while a tenant writes: the next leads
// soon after a kill and at once after a clean stop, and knows everything.
func TestHandOver(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	p.start()
	p.set(1, 2, 3)
	p.CLI("etcd", "user-add", "app", "/app/")
	p.CLI("pause", "--why", "hands off")
	load := p.startLoad(1, 2, 3)
	before := p.members()
	for round := range 2 {
		a, b := p.two[0], p.two[1]
		a.Kill()
		killed := p.leads(1)
		a.Start()
		p.follows(0)
		began := time.Now()
		if state := b.Stop(); !state.Success() {
			t.Errorf("the daemon stops with %s", state)
		}
		p.leads(0)
		t.Logf("round %d: the next leads %s after a kill -9, %s after SIGTERM", round, killed.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		b.Start()
		p.follows(1)
	}
	s := p.Status()
	if s.Paused == nil || s.Paused.Why != "hands off" || !strings.HasPrefix(s.Paused.By, "uid ") || !strings.Contains(s.Paused.By, " on ") {
		t.Errorf("the pause is %+v after a hand-over", s.Paused)
	}
	p.CLI("resume")
	load.Wrote(20)
	load.Finish(100)
	if after := p.members(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("members %v, were %v", after, before)
	}
	p.OnlyMembersAre("cp1", "cp2", "cp3")
}

// TestFollower asks the daemon that does not lead: it knows who does, reads what
// the store has, and changes nothing.
func TestFollower(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	p.start()
	p.set(1)
	leader := drive.Decode[api.Leader](t, p.CLI("leader", "--output", "json"))
	if !leader.Self || leader.PID != p.PID() {
		t.Errorf("the leader says %+v", leader)
	}
	b := p.two[1]
	other := drive.Decode[api.Leader](t, b.CLI("leader", "--output", "json"))
	if other.Self || other.PID != leader.PID || other.Epoch != leader.Epoch || other.StoreID != leader.StoreID || other.StoreID == "" {
		t.Errorf("the follower says %+v, the leader %+v", other, leader)
	}
	b.Says("history", b.CLI("--cluster", "main", "history"), "cluster set")
	b.Says("users", b.CLI("--cluster", "main", "etcd", "user-list"), "kube-apiserver")
	b.Says("spec", b.CLI("--cluster", "main", "cluster", "get"), p.addr(1))
	b.CLI("state", "backup", b.Dir+"/state.backup")
	hint := "hint: run ckecli on " + leader.Hostname + ", with --server " + p.server(0)
	for _, args := range [][]string{
		{"status"}, {"plan"}, {"--cluster", "main", "pause"}, {"etcd", "root-issue"},
		{"cluster", "set", b.Write("cluster.yml", p.clusterYAML(1, 2))}, {"--cluster", "main", "etcd", "user-add", "app", "/app/"},
	} {
		b.CLIFails(4, args, "error: this cke ("+leader.Hostname+") does not lead: "+leader.Hostname+" does", hint)
	}
	// Both named, in either order: the one that leads answers.
	for _, servers := range []string{p.server(0) + "," + p.server(1), p.server(1) + "," + p.server(0)} {
		if r := p.asks(servers, "status"); r.Code != 0 || !strings.Contains(r.Stdout, "cp1") {
			t.Errorf("status of both: %+v", r)
		}
	}
}

// TestWatchesOutliveAHandOver: who waits for a change, or watches, is told of it by the
// next leader.
func TestWatchesOutliveAHandOver(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	p.start()
	p.set(1)
	both := p.server(0) + "," + p.server(1)
	watch := p.follow(p.commandFor(both, "status", "--watch", "--output", "json"))
	p.Eventually("the watch has begun", watch.says(`"cluster":"main"`))
	set := p.follow(p.commandFor(both, "cluster", "set", p.Write("cluster.yml", p.clusterYAML(1, 2)), "--wait"))
	p.Eventually("the change is on its way", set.says("(revision "))
	p.Stop()
	p.leads(1)
	p.Eventually("the wait is over", set.over)
	if code := set.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("set --wait over a hand-over ends with %d:\n%s", code, set.text(t))
	}
	b := p.two[1]
	b.OnlyMembersAre("cp1", "cp2")
	b.CLI("--cluster", "main", "pause", "--why", "seen by the one that watches")
	p.Eventually("the watch goes on", watch.says("seen by the one that watches"))
	select {
	case <-watch.ended:
		t.Errorf("the watch has ended:\n%s", watch.text(t))
	default:
	}
}

// TestStoppedLeader stops the leader in the middle of a change, lets another
// finish it and make the next, and wakes the first: whatever it was about to do is
// refused.
func TestStoppedLeader(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"add-learner", "install-certificates", "install-units", "start-members", "promote-learner", "configure-auth"} {
		t.Run(after, func(t *testing.T) {
			t.Parallel()
			stoppedLeader(t, after)
		})
	}
}

func stoppedLeader(t *testing.T, after string) {
	p := newPair(t, 1)
	p.start()
	p.set(1, 2)
	p.Stop()
	p.leads(1)
	outcomes := p.Dir + "/outcomes"
	p.StartWith([]string{"CKE_EFFECT_STOP=" + after, "CKE_EFFECT_OUTCOMES=" + outcomes})
	p.two[1].Stop()
	p.leads(0)
	p.two[1].Start()
	pid := p.PID()
	if after == "configure-auth" { // which makes one change in etcd after the other
		add := p.commandFor(p.server(0), "etcd", "user-add", "late", "/late/")
		must(t, add.Start())
		t.Cleanup(func() {
			_ = add.Process.Kill() // it has ended, most likely
			_ = add.Wait()         // how does not matter
		})
	} else {
		p.begin(0, 1, 2, 3)
	}
	p.stopped(pid)
	done := len(lines(t, outcomes))
	b := p.two[1]
	p.leads(1)
	b.set(1, 2, 3)
	b.set(1, 2) // what the first daemon still has in mind is wrong by now
	before, revision := p.members(), b.Status().SpecRevision
	m := &mortal{env: b}
	root := b.connect(b.RootCert(), 1, 2)
	etcd := m.changes(root)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.follows(0)
	for _, o := range lines(t, outcomes)[done:] {
		t.Logf("once awake: %s", o)
		// What etcd had before the stop it may have carried out then.
		if strings.Contains(o, " host.") && strings.HasSuffix(o, `"<nil>"`) {
			t.Errorf("a deposed leader has done %s", o)
		}
	}
	b.OnlyMembersAre("cp1", "cp2")
	if after := p.members(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("members %v, were %v", after, before)
	}
	if s := b.Status(); s.SpecRevision != revision || len(s.Nodes) != 2 {
		t.Errorf("the spec is %d with %d nodes, was %d", s.SpecRevision, len(s.Nodes), revision)
	}
	if now := m.changes(root); now != etcd {
		t.Errorf("etcd has %s, had %s", now, etcd)
	}
}

// changes is what changes in etcd with every change of members, users and roles.
func (m *mortal) changes(root *clientv3.Client) string {
	m.t.Helper()
	var what string
	m.ask("look at etcd", func(ctx context.Context) error {
		auth, err := root.AuthStatus(ctx)
		if err != nil {
			return err
		}
		list, err := root.MemberList(ctx)
		if err != nil {
			return err
		}
		what = fmt.Sprintf("auth revision %d, members %v", auth.AuthRevision, list.Members)
		return nil
	})
	return what
}
