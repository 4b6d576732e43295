package hosts

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/lab"
)

// replaceAfter is what the scenes' spec says.
const replaceAfter = 15 * time.Second

// closedPort: a firewall stands between cke and the client port of the member that
// leads. Its peers and its own machine see it serve, so it keeps its seat, although a
// spare is there and replace_after is over. A person is told which port to open, and
// that is all there is to do.
func (s *scenes) closedPort() {
	w := s.StartLoad(false, s.addrs(1, 4)...)
	s.lead(2, 1, 2, 4)
	member, before := s.MemberID("h2"), s.changes()
	open := s.lab.Break(s.t, lab.ClientPortClosed(s.lab.Machine(2), s.lab.Box()))
	s.Until("replace_after is long over", func(st api.Status) error {
		m := memberAt(st, "h2")
		if m == nil || m.ID != member {
			s.t.Fatalf("h2 has lost its seat to nobody's use: %+v\n%s", m, s.CLI("history", "-n", "12"))
		}
		if m.Healthy || st.ObservedAt.Sub(m.UnhealthySince) < replaceAfter+10*time.Second {
			return fmt.Errorf("healthy %v, not since %s, at %s", m.Healthy, m.UnhealthySince, st.ObservedAt)
		}
		return nil
	})
	s.tells("memberDoesNotAnswer", "h2", member.String(), "takes part in the quorum, as its host says",
		"it is not replaced", "open port 2379 of h2 to cke")
	status := s.CLI("status")
	s.Says("status", strings.Join(strings.Fields(status), " "), "takes part in the quorum, as its host says", "open port 2379 of h2 to cke")
	s.t.Logf("a person sees\n%s", status)
	s.serves(2)
	s.sh(1, "bash -c '</dev/tcp/"+s.addr(2)+"/2379'")
	w.Wrote(100)
	open()
	s.whole(1, 2, 4)
	if now := s.MemberID("h2"); now != member {
		s.t.Errorf("the member on h2 is %s, was %s", now, member)
	}
	s.unchanged(before)
	w.Finish(300)
}

// cutOff: etcd's ports of a machine are closed to everybody, its peers too, while its
// helper answers. Its process runs and takes no part: the spare has its seat.
func (s *scenes) cutOff() {
	s.replaced(2, 5, lab.EtcdBlocked(s.lab.Machine(2)), func() {
		s.tells("memberDoesNotServe", "h2", s.MemberID("h2").String(), "does not serve")
	})
	s.whole(1, 4, 5)
}

// fullDisk: a machine's file system is full and stays so. It is told with mount and
// bytes, and that it would start by itself; then the spare has its seat.
func (s *scenes) fullDisk() {
	s.replaced(5, 2, lab.DiskFull(s.lab.Machine(5)), func() {
		s.tells("fileSystemIsFull", "h5", "the member's data is on "+lab.DataDir, "are free", "starts by itself")
	})
	s.whole(1, 2, 4)
}

// replaced breaks a machine until a spare has its seat, which it has without anybody
// and no sooner than replace_after later. Once the fault is over, what is left on the
// machine is aside.
func (s *scenes) replaced(dead, spare int, f lab.Fault, meanwhile func()) {
	s.t.Helper()
	w := s.StartLoad(false, s.addrs(1, 4)...)
	began := time.Now()
	heal := s.lab.Break(s.t, f)
	meanwhile()
	s.Until("the spare has its seat", func(st api.Status) error {
		if !votes(st, s.name(spare)) || memberOn(st, s.name(dead)) != 0 {
			return errors.New("it has not")
		}
		return nil
	})
	s.t.Logf("replaced %s after %q\n%s", time.Since(began).Round(time.Second), f.Name, s.CLI("history", "-n", "10"))
	s.notGivenUpBefore(began)
	w.Wrote(100)
	heal()
	s.leftAside(dead)
	w.Finish(300)
}

// notGivenUpBefore checks that nothing was removed since then before replace_after was
// over.
func (s *scenes) notGivenUpBefore(since time.Time) {
	s.t.Helper()
	for _, r := range s.History() {
		if r.Step != nil && r.Step.Kind == plan.RemoveMember && r.At.After(since) && r.At.Sub(since) < replaceAfter {
			s.t.Errorf("given up %s after it fell: %s", r.At.Sub(since), r)
		}
	}
}

// leftAside waits until no member can start on a machine any more.
func (s *scenes) leftAside(i int) {
	s.t.Helper()
	s.Eventually("what is left on "+string(s.name(i))+" is aside", func() error {
		if out := s.sh(i, "ls /etc/systemd/system /var/lib/cke/etcd/main"); strings.Contains(out, "etcd-main.service") {
			return errors.New(out)
		}
		return nil
	})
}

// tooMuchData: a tenant keeps more than the quota lets. CKE says whose it is and which
// quota would do; with that quota, writes are let in again.
func (s *scenes) tooMuchData() {
	s.CLI("etcd", "user-add", "hoard", "/hoard/")
	app := s.Connect(s.UserCert("hoard"), s.addrs(1, 2, 4)...)
	r := s.Overfill(app, "/hoard/")
	s.told(r, "writes are refused", "the quota is 32MiB", "the most is under /hoard/ about", "set etcd.quota in cluster.yml to 64MiB")
	s.t.Logf("a person sees\n%s", s.CLI("status"))
	if _, err := app.Get(s.ctx(), "/hoard/0-0"); err != nil {
		s.t.Errorf("reads do not go on: %v", err)
	}
	s.Set(s.spared("64MiB"))
	s.Eventually("writes are let in again", func() error {
		_, err := app.Put(s.ctx(), "/hoard/after", "1")
		return err
	})
	if st := s.Status(); len(st.Alarms) > 0 {
		s.t.Errorf("alarms %v", st.Alarms)
	}
	s.whole(1, 2, 4)
}

// spared is a cluster of three with a spare and this quota.
func (s *scenes) spared(quota string) string {
	s.t.Helper()
	return strings.Replace(strings.Replace(s.yaml(1, 4, 5, 2), "etcd: {", "etcd: {members: 3, ", 1), "256MiB", quota, 1)
}

// memberAt is the member that a machine carries, nil without one.
func memberAt(st api.Status, node cluster.NodeName) *cluster.Member {
	for _, n := range st.Nodes {
		if n.Hostname == node {
			return n.Member
		}
	}
	return nil
}
