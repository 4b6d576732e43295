package hosts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

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
	// daemon is the installation that starts and ends it.
	daemon *drive.Installation
	rnd    *rand.Rand
}

// TestScenes breaks machines in the ways a person is woken for, while a tenant
// writes: what can be survived is survived without anybody, what cannot is told,
// and no write that was acknowledged is lost.
func TestScenes(t *testing.T) {
	e := newEnv(t, 5, lab.DataDisk("1G"))
	s := &scenes{e, e.Installation, rand.New(rand.NewPCG(drive.Seed(t), 5))}
	s.etcd = ", replace_after: " + replaceAfter.String()
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
		{"spare", (*scenes).spare},
		{"closed port", (*scenes).closedPort},
		{"cut off", (*scenes).cutOff},
		{"full disk", (*scenes).fullDisk},
		{"no space", (*scenes).noSpace},
		{"too much data", (*scenes).tooMuchData},
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
	return &scenes{&e, s.daemon, s.rnd}
}

// noSpare: a machine dies and there is none to take its place. The others serve
// on, the membership stays, and the machine's member rejoins by itself.
func (s *scenes) noSpare() {
	w := s.StartLoad(false, s.addrs(1, 2)...)
	member, before := s.MemberID("h3"), s.changes()
	s.cutPower(3)
	r := s.Reason("noSpareCanReplaceIt", "h3")
	s.told(r, member.String(), "has not served", "bring h3 back, and its member rejoins by itself")
	s.tells("hostIsUnreachable", "h3", "the host does not answer")
	s.t.Logf("a person sees\n%s", s.CLI("status"))
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
	s.killedDuring(6, func() {
		s.must(m.PowerCut(), m.ReplaceDataDisk(), m.On())
	}, func(st api.Status) bool {
		now := memberOn(st, "h3")
		return st.Settled && now != 0 && now != member
	})
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
	s.tells("quorumIsLost", "", "3 voters, a quorum is 2, and only 1 can run now", "docs/quorum-loss.md")
	s.tells("whichDataIsWhere", "h1", "member "+survivor.String()+" runs", "log committed to index")
	for _, n := range []cluster.NodeName{"h2", "h3"} {
		s.tells("whichDataIsWhere", n, "does not answer since", "member "+memberOn(before, n).String(), "log committed to index")
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
	s.comeBackApart()
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

// comeBackApart: the two dead machines come back, with no CKE to see it, where they
// reach each other and none of those that serve now, and are the quorum that they
// were. The next CKE sees two clusters of one name and id, and touches neither,
// until they reach each other.
func (s *scenes) comeBackApart() {
	nodes := func(is ...int) (out []lab.Node) {
		for _, i := range is {
			out = append(out, s.lab.Machine(i))
		}
		return out
	}
	heal := s.lab.Break(s.t, lab.Partition(nodes(2, 3), nodes(1, 4, 5)))
	s.daemon.Kill()
	s.on(2, 3)
	s.serves(2)
	s.daemon.Start()
	s.tells("clustersAreMixed", "", "split", s.addr(1), "leads in term")
	members, steps := s.sh(1, "ls /var/lib/cke/etcd/main"), len(s.History())
	s.lookTwice()
	s.tells("clustersAreMixed", "", "split")
	if now := s.sh(1, "ls /var/lib/cke/etcd/main"); now != members || len(s.History()) != steps {
		s.t.Errorf("CKE acts on a split cluster: %s, was %s\n%s", now, members, s.CLI("history", "-n", "5"))
	}
	heal()
}

// spare: a machine dies for good. A spare has its seat replace_after later, without
// anybody and although the daemon is killed in the midst of it, and who asks where
// the members are is told of the spare. The dead machine comes back as a spare.
func (s *scenes) spare() {
	yaml := s.yaml(1, 4, 5, 2)
	for _, i := range []int{1, 4} {
		yaml = strings.Replace(yaml, "hostname: "+string(s.name(i)), "gateway: true, hostname: "+string(s.name(i)), 1)
	}
	s.Set(strings.Replace(yaml, "etcd: {", "etcd: {members: 3, ", 1))
	s.OnlyMembersAre("h1", "h4", "h5")
	w := s.StartLoad(false, s.addrs(1, 4)...)
	died := time.Now()
	s.killedDuring(6, func() { s.cutPower(5) }, func(st api.Status) bool {
		return st.Healthy && votes(st, "h2") && memberOn(st, "h5") == 0
	})
	s.notGivenUpBefore(died)
	s.Until("who asks is told of h2, and not of h5", func(st api.Status) error { return s.endpointsAre(st, 1, 2, 4) })
	s.t.Logf("a person sees\n%s\n%s", s.CLI("status"), s.CLI("history", "-n", "12"))
	w.Wrote(100)
	s.on(5)
	s.leftAside(5)
	s.OnlyMembersAre("h1", "h2", "h4")
	w.Finish(300)
}

// noSpace: history fills the quota, and etcd refuses every write. CKE makes room and
// lets them in again, although the daemon is killed in the midst of it. Reads go on.
func (s *scenes) noSpace() {
	s.Set(s.spared("32MiB"))
	w := s.StartLoad(false, s.addrs(1, 4)...)
	app := s.Connect(s.UserCert("app"), s.addrs(1, 2, 4)...)
	disarmed := s.CountSteps(plan.DisarmAlarm)
	s.killedDuring(4, func() { s.FillUp(app, func(n int) string { return fmt.Sprintf("/app/big/%d", n%4) }) }, func(st api.Status) bool {
		// Before the quota is reached all is as it is afterwards.
		if s.counted(plan.DisarmAlarm) <= disarmed {
			return false
		}
		for _, n := range st.Nodes {
			if m := n.Member; m != nil && m.DBSize > 16<<20 {
				return false
			}
		}
		return st.Settled && len(st.Alarms) == 0
	})
	w.Wrote(100)
	w.Finish(200)
	for _, k := range []plan.Kind{plan.Compact, plan.Defragment, plan.DisarmAlarm} {
		if s.CountSteps(k) == 0 {
			s.t.Errorf("it healed without %s", k)
		}
	}
	s.t.Logf("a person sees\n%s", s.CLI("history", "-n", "10"))
}
