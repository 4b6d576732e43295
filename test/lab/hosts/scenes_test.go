package hosts

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
	"cke/test/lab"
)

// scenes share machines: each begins where the one before it ended, with a settled
// cluster of three.
type scenes struct {
	*env
	rnd *rand.Rand
}

// TestScenes breaks machines in the ways a person is woken for, while a tenant
// writes: what can be survived is survived without anybody, what cannot is told,
// and no write that was acknowledged is lost.
func TestScenes(t *testing.T) {
	s := &scenes{newEnv(t, 5, lab.DataDisk("1G")), rand.New(rand.NewPCG(drive.Seed(t), 5))}
	s.etcd = ", replace_after: 15s"
	s.Start()
	s.Set(s.yaml(1, 2, 3))
	s.CLI("etcd", "user-add", "app", "/app/")
	for _, scene := range []struct {
		name string
		play func(*scenes)
	}{
		{"no spare", (*scenes).noSpare},
		{"empty disk", (*scenes).emptyDisk},
		{"crash loop", (*scenes).crashLoop},
		{"quorum loss", (*scenes).quorumLoss},
	} {
		began := time.Now()
		if !t.Run(scene.name, func(t *testing.T) { scene.play(s.in(t)) }) {
			t.FailNow() // the next scene has no ground
		}
		t.Logf("%s took %s", scene.name, time.Since(began).Round(time.Second))
	}
	s.NeverBelowQuorum()
}

// in is the same as seen by a subtest.
func (s *scenes) in(t *testing.T) *scenes {
	e := *s.env
	e.Installation, e.t = e.In(t), t
	return &scenes{&e, s.rnd}
}

// noSpare: a machine dies and there is none to take its place. The others serve
// on, the membership stays, and the machine's member rejoins by itself.
func (s *scenes) noSpare() {
	w := s.StartLoad(false, s.addrs(1, 2)...)
	member, before := s.MemberID("h3"), s.changes()
	s.cutPower(3)
	r := s.Reason("hostIsUnreachable", "h3")
	s.told(r, "the host does not answer")
	w.Wrote(100)
	s.on(3)
	s.whole(1, 2, 3)
	if now := s.MemberID("h3"); now != member {
		s.t.Errorf("the member on h3 is %s, was %s", now, member)
	}
	s.unchanged(before)
	w.Finish(200)
}

// emptyDisk: a machine comes back with an empty disk, at the same address. Its
// member is rebuilt as a learner, although the daemon is killed in the midst of it.
func (s *scenes) emptyDisk() {
	w := s.StartLoad(false, s.addrs(1, 2)...)
	member, m := s.MemberID("h3"), s.lab.Machine(3)
	s.killedDuring(func() {
		s.must(m.PowerCut(), m.ReplaceDataDisk(), m.On())
	}, func(st api.Status) bool { return st.Settled && memberOn(st, "h3") != member })
	s.whole(1, 2, 3)
	if now := s.MemberID("h3"); now == member {
		s.t.Errorf("the member on h3 is still %s: a voter that forgot its votes", now)
	}
	w.Finish(200)
}

// crashLoop: somebody gave one member a flag that etcd does not take. It is shown
// with what etcd says, the others serve on, and it is back once the flag is gone.
func (s *scenes) crashLoop() {
	w := s.StartLoad(false, s.addrs(1, 3)...)
	member, before := s.MemberID("h2"), s.changes()
	s.sh(2, `mkdir -p /etc/systemd/system/etcd-main.service.d
printf '[Service]\nEnvironment=ETCD_SNAPSHOT_COUNT=lots\n' >/etc/systemd/system/etcd-main.service.d/bad.conf
systemctl daemon-reload && systemctl kill -s KILL etcd-main.service`)
	st := s.Until("the plan says how the member ends", func(st api.Status) error {
		for _, r := range st.Plan.Reasons {
			if r.Node == "h2" && r.Level == plan.Blocked && strings.Contains(r.Text, "ETCD_SNAPSHOT_COUNT") {
				return nil
			}
		}
		return errors.New("it does not")
	})
	s.t.Logf("a person sees\n%s\n%s", s.CLI("status"), st.Plan)
	w.Wrote(100)
	s.sh(2, `rm -r /etc/systemd/system/etcd-main.service.d && systemctl daemon-reload`)
	s.whole(1, 2, 3)
	if now := s.MemberID("h2"); now != member {
		s.t.Errorf("the member on h2 is %s, was %s", now, member)
	}
	s.unchanged(before)
	w.Finish(200)
}

// quorumLoss: two of three machines die for good. CKE takes no step and says what
// is where; a person types the page's commands, names two other machines, and has
// the same cluster again. The dead machines come back later and harm nothing.
func (s *scenes) quorumLoss() {
	w := s.StartLoad(true, s.addrs(1, 2, 3)...)
	w.Wrote(100)
	w.Finish(100)
	cert := s.UserCert("app")
	before := s.Until("every member knows of every write", sameIndex)
	keys := s.keys(cert, 1, 2, 3)
	survivor, steps := s.MemberID("h1"), len(s.History())

	s.cutPower(2, 3)
	s.told(s.Reason("quorumIsLost", ""), "3 voters, a quorum is 2, and only 1 can run now", "docs/quorum-loss.md")
	s.told(s.Reason("whichDataIsWhere", "h1"), "member "+survivor.String()+" runs", "log committed to index")
	for _, n := range []cluster.NodeName{"h2", "h3"} {
		s.told(s.Reason("whichDataIsWhere", n), "does not answer since", "member "+memberOn(before, n).String(), "log committed to index")
	}
	s.t.Logf("a person sees\n%s", s.CLI("status"))
	if now := s.Status(); len(now.Plan.Steps) > 0 || len(s.History()) != steps {
		s.t.Errorf("steps are taken without a quorum:\n%s", now.Plan)
	}

	s.mustSend(1, "etcdutl", "/usr/local/bin/etcdutl")
	page := drive.ReadPage(s.t, "quorum-loss.md")
	s.typed(page.Commands("## 1. Look what there is") + page.Commands("## 2. Hold CKE back"))
	out := s.bash(1, page.Commands("## 3. Make the survivor a cluster of its own", "NODE=h1", "ADDRESS="+s.addr(1), "MEMBER="+survivor.String()))
	s.Says("etcdutl", out, "REVISION")
	s.Write("edited.yml", s.yaml(1, 4, 5))
	edit := strings.Replace(page.Commands("## 4. Let CKE go on"), "ckecli cluster get > cluster.yml", "ckecli cluster get > cluster.yml; cp edited.yml cluster.yml", 1)
	s.typed(edit)
	s.whole(1, 4, 5)
	if after := s.Status(); after.ClusterID != before.ClusterID || s.MemberID("h1") != survivor {
		s.t.Errorf("cluster %s with %s on h1, was %s with %s", after.ClusterID, s.MemberID("h1"), before.ClusterID, survivor)
	}

	w = s.StartLoad(false, s.addrs(1, 4, 5)...)
	s.on(2, 3)
	s.Until("the dead machines have left", func(st api.Status) error {
		if !st.Settled || len(st.Left) != 2 {
			return fmt.Errorf("settled %v, left %d", st.Settled, len(st.Left))
		}
		return nil
	})
	for _, i := range []int{2, 3} {
		if found := s.sh(i, "find "+lab.DataDir+"/main/.aside -name '*.wal' | head -1; ls /etc/systemd/system | grep etcd || true"); !strings.HasPrefix(found, lab.DataDir) || strings.Contains(found, "etcd-main.service") {
			s.t.Errorf("h%d has not its data aside, and nothing else: %q", i, found)
		}
	}
	w.Finish(100)
	for _, i := range []int{1, 4, 5} {
		if n := s.keys(cert, i); n < keys {
			s.t.Errorf("%d keys through h%d, were %d before the loss", n, i, keys)
		}
	}
}

// killedDuring begins something with a daemon that is killed after one of its first
// effects, drawn by chance, and lets another finish it.
func (s *scenes) killedDuring(begin func(), over func(api.Status) bool) {
	s.t.Helper()
	s.Kill()
	n := 1 + s.rnd.IntN(6)
	if !s.StartWith([]string{"CKE_EFFECT_TRACE=" + s.Write("trace", ""), "CKE_EFFECT_KILL=" + strconv.Itoa(n)}) {
		s.t.Fatal("the daemon ended before anything began")
	}
	begin()
	s.Eventually("the daemon is killed", func() error {
		select {
		case <-s.Ended():
			return nil
		default:
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
		defer cancel()
		if st, err := s.Client().Status(ctx, "main"); err == nil && over(st) {
			s.t.Fatalf("all was done before effect %d", n)
		}
		return fmt.Errorf("it has not come to effect %d", n)
	})
	s.Kill()
	s.Start()
	s.t.Logf("the daemon was killed after effect %d: %s", n, drive.LastLines(filepath.Join(s.Dir, "trace"), 1))
	s.Until("another finishes it", func(st api.Status) error {
		if !over(st) {
			return errors.New("it is not over")
		}
		return nil
	})
}

// told checks what a reason says to a person, its hint included.
func (s *scenes) told(r plan.Reason, parts ...string) {
	s.t.Helper()
	s.Says(r.Rule, r.String(), parts...)
}

// changes counts what was done to the membership.
func (s *scenes) changes() int {
	s.t.Helper()
	n := 0
	for _, r := range s.History() {
		if r.Step != nil && slices.Contains([]plan.Kind{plan.RemoveMember, plan.AddLearner, plan.PromoteLearner}, r.Step.Kind) {
			n++
		}
	}
	return n
}

func (s *scenes) unchanged(before int) {
	s.t.Helper()
	if n := s.changes() - before; n != 0 {
		s.t.Errorf("%d changes of the membership for a member that only had to come back", n)
	}
}

// typed types commands on the box, bash those of a machine, as root.
func (s *scenes) typed(script string) {
	s.t.Helper()
	if r := s.Type(script); r.Code != 0 {
		s.t.Fatalf("exit %d of\n%s\n%s%s", r.Code, script, r.Stdout, r.Stderr)
	}
}

func (s *scenes) bash(i int, script string) string {
	s.t.Helper()
	out, err := s.lab.Machine(i).ExecInput(s.ctx(), "set -euo pipefail\n"+script, "bash", "-s")
	if err != nil {
		s.t.Fatalf("%v, of\n%s\n%s", err, script, out)
	}
	return out
}

// mustSend puts one of the built programs on a machine.
func (s *scenes) mustSend(i int, program, path string) {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Bin, program))
	s.must(err)
	s.must(s.lab.Machine(i).WriteFile(s.ctx(), path, b, "0755"))
}

// keys counts the tenant's keys.
func (s *scenes) keys(c api.Certificate, nodes ...int) int64 {
	s.t.Helper()
	cl := s.Connect(c, s.addrs(nodes...)...)
	var count int64
	s.Eventually("count keys", func() error {
		resp, err := cl.Get(s.ctx(), "/app/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil {
			count = resp.Count
		}
		return err
	})
	return count
}

func memberOn(st api.Status, node cluster.NodeName) cluster.MemberID {
	for _, n := range st.Nodes {
		if n.Hostname == node && n.Member != nil {
			return n.Member.ID
		}
	}
	return 0
}

// sameIndex: in a quiet cluster, all know the last write to be committed.
func sameIndex(st api.Status) error {
	indexes := map[uint64]bool{}
	for _, n := range st.Nodes {
		if n.Member == nil || !n.Member.Healthy {
			return errors.New("a member does not serve")
		}
		indexes[n.Member.RaftIndex] = true
	}
	if len(indexes) != 1 {
		return fmt.Errorf("%d different indexes", len(indexes))
	}
	return nil
}
