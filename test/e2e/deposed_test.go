package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDeposed starts a daemon from a backup, lets it act, and then brings the
// old one back: it sees that a newer leader has acted and changes nothing, in
// etcd neither.
func TestDeposed(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1, 2, 3)
	backup := filepath.Join(e.Dir, "cke.state")
	e.CLI("state", "backup", backup)
	e.Stop()
	state, old := filepath.Join(e.Dir, "state"), filepath.Join(e.Dir, "state.old")
	if err := os.Rename(state, old); err != nil {
		t.Fatal(err)
	}
	e.Start("--restore-state", backup)
	e.set(1, 2, 4)
	e.Stop()
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, state); err != nil {
		t.Fatal(err)
	}
	before := e.members()
	e.Start()
	e.blocked("newerLeaderActs")
	if after := e.members(); len(after) != 3 || after["cp1"] != before["cp1"] || after["cp2"] != before["cp2"] || after["cp4"] != before["cp4"] {
		t.Errorf("members %v, were %v", after, before)
	}
}
