package hosts

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"cke/internal/plan"
	"cke/test/drive"
	"cke/test/lab"
)

// TestPowerCuts: one machine, two and all three lose their power while a tenant
// writes and no CKE runs. The cluster is back by itself each time, and nothing
// that was acknowledged is lost.
func TestPowerCuts(t *testing.T) {
	e := newCluster(t, 3, []int{1, 2, 3}, lab.DataDisk("1G"))
	before := e.Settled()
	w := e.tenant(true, 1, 2, 3)
	w.Wrote(50)
	e.Stop()
	for _, cut := range [][]int{{1}, {2, 3}, {1, 2, 3}} {
		e.cutPower(cut...)
		if len(cut) == 1 {
			w.Wrote(50) // the other two go on
		}
		e.on(cut...)
		w.Wrote(50)
	}
	// In good order, one after the other, with the last two down at once.
	e.off(1, 2)
	e.off(3)
	e.on(3)
	e.on(1, 2)
	w.Wrote(50)
	w.Finish(250)

	e.Start()
	after := e.Settled()
	if after.ClusterID != before.ClusterID {
		t.Errorf("cluster %s, was %s", after.ClusterID, before.ClusterID)
	}
	for _, k := range []plan.Kind{plan.RemoveMember, plan.AddLearner, plan.InstallUnits} {
		want := 0
		if k == plan.InstallUnits {
			continue
		}
		if n := e.CountSteps(k); n != want {
			t.Errorf("%d times %s for members that only had to come back", n, k)
		}
	}
	e.OnlyMembersAre(e.names(1, 2, 3)...)
}

// TestPowerCutInTheFirstStart: the power fails in the middle of a founding, when
// one member is not over its first start and the others are. At boot it stays
// down, for what it was started with is for once only, the others come back, and
// the next CKE finishes the founding.
func TestPowerCutInTheFirstStart(t *testing.T) {
	e := newEnv(t, 3, lab.DataDisk("1G"))
	// It is gone after the power cut, and the unit as CKE made it.
	e.sh(1, `mkdir -p /run/systemd/system/etcd-main.service.d
printf '[Service]\nExecStartPre=/bin/sleep 600\n' >/run/systemd/system/etcd-main.service.d/hold.conf`)
	trace := e.Write("trace", "")
	e.StartWith([]string{"CKE_EFFECT_TRACE=" + trace})
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3)))
	// The first founder goes ahead, is given up on, and the others follow at once:
	// how many starts have been tried is not exact.
	e.Eventually("the start of all three was tried", func() error {
		b, err := os.ReadFile(trace)
		if n := strings.Count(string(b), "start-members host.start-unit"); err == nil && n < 3 {
			return fmt.Errorf("of %d:\n%s", n, b)
		}
		return err
	})
	e.Kill()
	e.Says("h1", e.sh(1, "systemctl show -p ActiveState,SubState,UnitFileState etcd-main.service"), "SubState=start-pre", "UnitFileState=static")

	e.cutPower(1, 2, 3)
	e.on(1, 2, 3)
	e.serves(2)
	e.serves(3)
	e.Eventually("the boot is over", func() error { return e.booted(1) })
	if pid := e.mainPID(1); pid != "0" {
		t.Errorf("the member on h1 was started at boot: pid %s", pid)
	}
	e.Start()
	e.whole(1, 2, 3)
	e.Says("h1", e.sh(1, "systemctl show -p ActiveState,UnitFileState etcd-main.service"), "ActiveState=active", "UnitFileState=enabled")
}

// TestNoQuorumIsNoFailure: a member that starts alone waits for the others as
// long as it takes; no start timeout ends it.
func TestNoQuorumIsNoFailure(t *testing.T) {
	e := newCluster(t, 3, []int{1, 2, 3})
	e.Stop()
	e.off(1, 2, 3)
	e.on(1)
	e.Eventually("the lonely member starts", func() error { return e.running(1) })
	pid := e.mainPID(1)
	limit := e.sh(1, "systemctl show -p TimeoutStartUSec --value etcd-main.service")
	if limit != "infinity" {
		t.Errorf("the unit's start timeout is %s", limit)
	}
	e.Says("state", e.sh(1, "systemctl show -p ActiveState,SubState etcd-main.service"), "ActiveState=activating")
	e.Start()
	e.Reason("quorumIsLost", "")
	e.Says("h1", e.Reason("whichDataIsWhere", "h1").Text, "member ", " runs, ")
	e.Says("h2", e.Reason("whichDataIsWhere", "h2").Text, "does not answer since ")
	if now := e.mainPID(1); now != pid {
		t.Errorf("the lonely member was restarted: pid %s, was %s", now, pid)
	}
	e.on(2, 3)
	e.OnlyMembersAre(e.names(1, 2, 3)...)
}

// running says why a machine's member has no process, or nil.
func (e *env) running(i int) error {
	if pid := e.mainPID(i); pid == "0" || pid == "" {
		return errNotRunning
	}
	return nil
}

// TestKilledMember: systemd brings a killed member back, with CKE down as well.
func TestKilledMember(t *testing.T) {
	e := newCluster(t, 3, []int{1, 2, 3})
	w := e.tenant(false, 1, 2, 3)
	e.Stop()
	for _, i := range []int{1, 2, 3} {
		pid := e.mainPID(i)
		e.lab.Break(t, lab.Kill(e.lab.Machine(i), "^/opt/cke/etcd/.*--name=h"))
		e.Within(drive.Patience, "systemd starts it again", func() error {
			if now := e.mainPID(i); now == "0" || now == pid {
				return errNotRunning
			}
			return nil
		})
		w.Wrote(50)
		e.serves(i)
	}
	w.Finish(150)
	e.Start()
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	for _, k := range []plan.Kind{plan.RemoveMember, plan.AddLearner} {
		if n := e.CountSteps(k); n != 0 {
			t.Errorf("%d times %s", n, k)
		}
	}
}
