package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// TestANewLeaderTakesItsOwnSnapshot kills the leader once the first member has the
// other version. Its machine is gone, and the snapshot with it: the next one goes on
// only with one of its own.
func TestANewLeaderTakesItsOwnSnapshot(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	a, b, look := p.two[0], p.two[1], p.LookOut()
	a.StartWith([]string{"CKE_EFFECT_KILL=" + string(plan.FinishRestart)})
	p.leads(0)
	b.Start()
	a.Set(p.ofVersion(drive.OlderVersion))
	p.beginWith(0, p.ofVersion(cluster.DefaultVersion))
	select {
	case <-a.Ended():
	case <-time.After(drive.Patience):
		t.Fatal("no member was restarted")
	}
	gone := filepath.Join(a.Dir, "state/snapshots")
	files, err := filepath.Glob(gone + "/main/etcd-*.backup")
	if err != nil || len(files) != 1 {
		t.Fatalf("the first one's snapshots: %v, %v", files, err)
	}
	must(t, os.RemoveAll(gone))
	p.leads(1)
	b.allRun(cluster.DefaultVersion)
	s := b.Status().Snapshot
	if s == nil || s.Host == "" || s.To != cluster.DefaultVersion || !strings.HasPrefix(s.Path, b.Dir+"/") {
		t.Errorf("the snapshot is %+v", s)
	}
	if s != nil {
		b.Says("status", b.CLI("status"), s.Path)
	}
	b.isSafe(look, 1, 2) // leadership moves once, and may once more when a daemon dies
	if n := b.CountSteps(plan.TakeSnapshot); n != 2 {
		t.Errorf("%d snapshots were taken, want one by each", n)
	}
}
