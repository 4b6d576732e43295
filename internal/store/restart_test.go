package store

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"cke/internal/cluster"
)

// The record of a restart is kept until that very restart is dropped, and goes
// with a backup of the state.
func TestARestartIsKeptUntilItIsDropped(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	ctx := t.Context()
	first := cluster.Restart{
		Node: "cp1", Member: 7, From: cluster.Unit{Version: "3.6.16"}, To: cluster.Unit{Version: "3.7.3"},
		At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
	if err := s.PutRestart(ctx, "main", first); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a restart of no cluster: %v", err)
	}
	put(t, s, spec("main", 1))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	is := func(s *Store, want *cluster.Restart) {
		t.Helper()
		snap, err := s.Load(ctx, "main")
		must(err)
		equal(t, "restart", snap.Restart, want)
	}
	is(s, nil)
	must(s.PutRestart(ctx, "main", first))
	is(s, &first)
	failed := first
	failed.Failed = "exit status 1"
	must(s.PutRestart(ctx, "main", failed))
	must(s.DropRestart(ctx, "main", first))
	is(s, &failed)

	b := testBackup(t, s)
	elsewhere := o
	elsewhere.Dir = filepath.Join(t.TempDir(), "new")
	must(Restore(ctx, elsewhere.Dir, bytes.NewReader(b), o.Sealer, nil))
	is(open(t, elsewhere), &failed)

	must(s.DropRestart(ctx, "main", failed))
	must(s.DropRestart(ctx, "main", failed))
	is(s, nil)
}
