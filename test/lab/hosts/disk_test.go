package hosts

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cke/internal/plan"
	"cke/test/lab"
)

// TestDataDiskNotMounted: a machine boots without its data disk. Its member does
// not start on the empty mount point, with CKE or without, and the plan names
// the mount. With the disk back the member is, without CKE.
func TestDataDiskNotMounted(t *testing.T) {
	e := newCluster(t, 3, []int{1, 2, 3}, lab.DataDisk("1G"))
	w := e.tenant(false, 1, 2)
	member := e.MemberID("h3")
	m := e.lab.Machine(3)

	e.Stop()
	e.must(m.Off(), m.DetachDataDisk(), m.On())
	e.Eventually("the boot is over", func() error { return e.booted(3) })
	e.memberRefuses(3)
	e.Start()
	r := e.Reason("dataDiskIsNotMounted", "h3")
	e.Says("the reason", r.Text, lab.DataDir)
	w.Wrote(100)
	e.memberRefuses(3)
	e.Stop()

	e.must(m.Off(), m.AttachDataDisk(), m.On())
	e.serves(3)
	e.Start()
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	if now := e.MemberID("h3"); now != member {
		t.Errorf("the member on h3 is %s, was %s", now, member)
	}
	w.Finish(100)
	if n := e.CountSteps(plan.RemoveMember); n != 0 {
		t.Errorf("%d members were removed", n)
	}
}

// TestDataDiskIsNew: the disk is new and empty. That is a lost disk: nothing
// starts on it, and CKE rebuilds the member as a learner.
func TestDataDiskIsNew(t *testing.T) {
	e := newCluster(t, 3, []int{1, 2, 3}, lab.DataDisk("1G"))
	w := e.tenant(false, 1, 2)
	member := e.MemberID("h3")
	m := e.lab.Machine(3)
	e.Stop()
	e.must(m.Off(), m.ReplaceDataDisk(), m.On())
	e.Eventually("the boot is over", func() error { return e.booted(3) })
	e.memberRefuses(3)
	e.Start()
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	if now := e.MemberID("h3"); now == member {
		t.Errorf("the member on h3 is still %s: a voter that forgot its votes", now)
	}
	for _, k := range []plan.Kind{plan.RemoveMember, plan.AddLearner, plan.PromoteLearner} {
		if n := e.CountSteps(k); n != 1 {
			t.Errorf("%d times %s, want once", n, k)
		}
	}
	w.Finish(100)
	e.NeverBelowQuorum()
}

// TestDataDiskFailsToMount: the data disk is in fstab, and its mount fails at
// boot. The member waits for it, with CKE or without; once somebody has mounted
// it CKE starts the member that was.
func TestDataDiskFailsToMount(t *testing.T) {
	e := newEnv(t, 3)
	e.sh(3, `mkdir -p /srv/disk `+lab.DataDir+` && echo "/srv/disk `+lab.DataDir+` none bind,nofail 0 0" >>/etc/fstab
systemctl daemon-reload && systemctl start var-lib-cke-etcd.mount && mountpoint -q `+lab.DataDir)
	e.Start()
	e.Set(e.yaml(1, 2, 3))
	w := e.tenant(false, 1, 2)
	member := e.MemberID("h3")
	m := e.lab.Machine(3)

	e.Stop()
	e.sh(3, "mv /srv/disk /srv/away")
	e.must(m.Reboot())
	e.Eventually("the boot is over", func() error { return e.booted(3) })
	e.Says("the mount", e.sh(3, "systemctl show -p ActiveState var-lib-cke-etcd.mount"), "failed")
	e.Says("the journal", e.sh(3, "journalctl -b -u etcd-main.service"), "Dependency failed")
	e.memberRefuses(3)
	e.Start()
	e.Says("the reason", e.Reason("dataDiskIsNotMounted", "h3").Text, lab.DataDir)
	w.Wrote(100)
	e.memberRefuses(3)

	e.sh(3, "mv /srv/away /srv/disk && systemctl start var-lib-cke-etcd.mount")
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	if now := e.MemberID("h3"); now != member {
		t.Errorf("the member on h3 is %s, was %s", now, member)
	}
	w.Finish(100)
	if n := e.CountSteps(plan.RemoveMember); n != 0 {
		t.Errorf("%d members were removed", n)
	}
}

// must fails the test on any error.
func (e *env) must(errs ...error) {
	e.t.Helper()
	if err := errors.Join(errs...); err != nil {
		e.t.Fatal(err)
	}
}

// booted says whether systemd has gone through all it starts at boot.
func (e *env) booted(i int) error {
	out, _ := e.lab.Machine(i).Exec(e.ctx(), "systemctl", "is-system-running") // degraded is an exit code too
	if s := strings.TrimSpace(out); s != "running" && s != "degraded" {
		return fmt.Errorf("the system is %s", s)
	}
	return nil
}

// memberRefuses checks that a machine's unit does not run and put nothing where
// its data should be.
func (e *env) memberRefuses(i int) {
	e.t.Helper()
	if pid := e.mainPID(i); pid != "0" {
		e.t.Errorf("the member on %s runs as %s without its data", e.name(i), pid)
	}
	if out := e.sh(i, "find "+lab.DataDir+" -name '*.wal' -o -name '*.snap' -o -name db"); out != "" {
		e.t.Errorf("on the empty disk of %s there is now %s", e.name(i), out)
	}
}
