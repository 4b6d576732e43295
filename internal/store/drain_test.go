package store

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cke/internal/cluster"
)

// The record of a drain is kept until that very drain is dropped, and goes with a
// backup of the state.
func TestADrainIsKeptUntilItIsDropped(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	ctx := t.Context()
	d := cluster.Drain{Node: "cp1", By: "ada", Why: "a new fan", At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	if err := s.PutDrain(ctx, "main", d); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a drain of no cluster: %v", err)
	}
	put(t, s, spec("main", 1))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	are := func(s *Store, want ...cluster.Drain) {
		t.Helper()
		snap, err := s.Load(ctx, "main")
		must(err)
		equal(t, "drains", snap.Drains, want)
	}
	other := cluster.Drain{Node: "cp2", At: d.At}
	must(s.PutDrain(ctx, "main", other))
	must(s.PutDrain(ctx, "main", d))
	are(s, d, other)
	over := d
	over.Ended = d.At.Add(time.Hour)
	must(s.PutDrain(ctx, "main", over))
	must(s.DropDrain(ctx, "main", d)) // it was ended since
	are(s, over, other)

	must(s.PutReboot(ctx, "main", cluster.Reboot{Nodes: []cluster.NodeName{"cp3"}, At: d.At}))
	must(s.AskDefrag(ctx, "main", []cluster.DefragRequest{{Node: "cp3", At: d.At}}))
	b := testBackup(t, s)
	snap, err := s.Load(ctx, "main") // what was wanted once is not done again
	must(err)
	if snap.Reboot == nil || len(snap.Defrag) != 1 {
		t.Fatalf("before the backup: %+v", snap)
	}
	elsewhere := o
	elsewhere.Dir = filepath.Join(t.TempDir(), "new")
	must(Restore(ctx, elsewhere.Dir, bytes.NewReader(b), o.Sealer, nil))
	restored := open(t, elsewhere)
	are(restored, over, other)
	snap, err = restored.Load(ctx, "main")
	must(err)
	if snap.Reboot != nil || len(snap.Defrag) != 0 {
		t.Errorf("restored: a reboot %+v, to be defragmented %+v", snap.Reboot, snap.Defrag)
	}

	must(s.DropDrain(ctx, "main", over))
	must(s.DropDrain(ctx, "main", over))
	are(s, other)
}

// What a person has said of a node since it was looked at stays.
func TestADrainIsChangedOnlyFromWhatItWas(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	put(t, s, spec("main", 1))
	change := func(from *cluster.Drain, to cluster.Drain, want bool) {
		t.Helper()
		still, err := s.ChangeDrain(ctx, "main", from, to)
		if err != nil || still != want {
			t.Fatalf("it was still so: %v, want %v; %v", still, want, err)
		}
		if snap, err := s.Load(ctx, "main"); err != nil || want && !slices.Contains(snap.Drains, to) || !want && slices.Contains(snap.Drains, to) {
			t.Errorf("drains %+v; %v", snap.Drains, err)
		}
	}
	own := cluster.Drain{Node: "cp1", By: "ada", At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Reboot: true}
	over := own
	over.Ended = own.At.Add(time.Hour)
	persons := cluster.Drain{Node: "cp1", By: "bob", At: own.At.Add(time.Minute)}
	change(nil, own, true)
	if err := s.PutDrain(ctx, "main", persons); err != nil {
		t.Fatal(err)
	}
	change(&own, over, false)
	change(nil, own, false)
	change(&persons, over, true)
}

// A reboot is one at a time, and goes when its last machine is done.
func TestARebootAdvancesToItsEnd(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	r := cluster.Reboot{Nodes: []cluster.NodeName{"cp1", "cp2"}, By: "ada", At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	if err := s.PutReboot(ctx, "main", r); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a reboot of no cluster: %v", err)
	}
	put(t, s, spec("main", 1))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	is := func(want *cluster.Reboot) {
		t.Helper()
		snap, err := s.Load(ctx, "main")
		must(err)
		equal(t, "reboot", snap.Reboot, want)
	}
	advance := func(from, to cluster.Reboot, want bool) {
		t.Helper()
		still, err := s.AdvanceReboot(ctx, "main", from, to)
		must(err)
		equal(t, "whether it was still so", still, want)
	}
	must(s.PutReboot(ctx, "main", r))
	if err := s.PutReboot(ctx, "main", r); !errors.Is(err, ErrConflict) {
		t.Errorf("a second one: %v", err)
	}
	told := r
	told.Boot, told.Told = "b1", r.At
	advance(r, told, true)
	is(&told)
	advance(r, r, false) // from what it is no more
	is(&told)
	first := told.After("cp1")
	advance(told, first, true)
	is(&first)
	if first.Boot != "" || !first.Told.IsZero() {
		t.Errorf("the next one was told before its turn: %+v", first)
	}
	advance(first, first.After("cp2"), true)
	is(nil)
	must(s.PutReboot(ctx, "main", r))
	must(s.DropReboot(ctx, "main"))
	must(s.DropReboot(ctx, "main"))
	advance(r, told, false) // it was cancelled
	is(nil)
}
