package app

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestADaemonBelievesWhoeverBeganFromItsBackup: what such a daemon tells hosts of itself
// proves to the first that it is newer, and not the other way round.
func TestADaemonBelievesWhoeverBeganFromItsBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := fleetOf(t, dir, 0)
	must(t, old.Start(t.Context()))
	var backup bytes.Buffer
	must(t, old.store.Backup(t.Context(), &backup))
	file := filepath.Join(dir, "backup")
	must(t, os.WriteFile(file, backup.Bytes(), 0o600))
	o := old.o
	o.Config.DataDir, o.Config.Socket, o.RestoreState = filepath.Join(dir, "other"), filepath.Join(dir, "s2"), file
	restored := New(o)
	must(t, restored.Start(t.Context()))
	was, is := old.caller(), restored.caller()
	must(t, restored.Stop(t.Context()))
	if is.StoreID != was.StoreID || is.Epoch <= was.Epoch {
		t.Fatalf("restored as %+v from %+v", is, was)
	}
	if !old.store.Proves(is.Epoch, is.Proof) {
		t.Error("the newer leader is not believed")
	}
	if old.store.Proves(is.Epoch, was.Proof) || old.store.Proves(is.Epoch+1, is.Proof) {
		t.Error("an epoch without its proof is believed")
	}
	must(t, old.Stop(t.Context()))
}
