package e2e

import (
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// TestLostDiskOnTheWayDown: a member loses its data once etcd was asked to go down, when
// etcd takes in nobody who has none. It is rebuilt before the others go, which then never
// lack a quorum.
func TestLostDiskOnTheWayDown(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.StartWith([]string{"CKE_EFFECT_KILL=" + string(plan.EnableDowngrade)})
	e.Set(e.ofVersion(cluster.DefaultVersion))
	e.allRun(cluster.DefaultVersion)
	file := e.Write("cluster.yml", e.ofVersion(drive.OlderVersion))
	if r := e.Run("ckecli", "cluster", "set", file); r.Code != 0 {
		t.Fatalf("cluster set: exit %d\n%s", r.Code, r.Stderr)
	}
	select {
	case <-e.Ended():
	case <-time.After(drive.Patience):
		t.Fatal("etcd was never asked to go down")
	}
	e.killMember("cp3")
	e.wipe("cp3")
	e.Start()
	e.onlyMembersAre(1, 2, 3)
	e.allRun(drive.OlderVersion)
	e.NeverBelowQuorum()
	if n := e.CountSteps(plan.CancelDowngrade); n != 1 {
		t.Errorf("it was taken back %d times, want once", n)
	}
}
