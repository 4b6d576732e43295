package store

import (
	"bytes"
	"errors"
	"path/filepath"
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

	b := testBackup(t, s)
	elsewhere := o
	elsewhere.Dir = filepath.Join(t.TempDir(), "new")
	must(Restore(ctx, elsewhere.Dir, bytes.NewReader(b), o.Sealer, nil))
	are(open(t, elsewhere), over, other)

	must(s.DropDrain(ctx, "main", over))
	must(s.DropDrain(ctx, "main", over))
	are(s, other)
}

// What a person has written down since is not overwritten.
func TestADrainAdvancesOnlyFromWhatItWas(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	put(t, s, spec("main", 1))
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	rule := cluster.Drain{Node: "cp1", By: "ada", Why: "reboot", At: at, Reboot: true}
	person := cluster.Drain{Node: "cp1", By: "bob", Why: "a new fan", At: at}
	over := rule
	over.Ended = at.Add(time.Minute)
	steps := []struct {
		from *cluster.Drain
		to   cluster.Drain
		want error
		is   cluster.Drain
	}{
		{nil, rule, nil, rule},
		{nil, rule, ErrConflict, rule},
		{&rule, over, nil, over},
		{&rule, over, ErrConflict, over},
	}
	for i, c := range steps {
		if err := s.AdvanceDrain(ctx, "main", c.from, c.to); !errors.Is(err, c.want) {
			t.Errorf("%d: %v", i, err)
		}
		snap, err := s.Load(ctx, "main")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "drains", snap.Drains, []cluster.Drain{c.is})
	}
	if err := s.PutDrain(ctx, "main", person); err != nil {
		t.Fatal(err)
	}
	if err := s.AdvanceDrain(ctx, "main", &over, over); !errors.Is(err, ErrConflict) {
		t.Errorf("a person drained it since: %v", err)
	}
	snap, err := s.Load(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "drains", snap.Drains, []cluster.Drain{person})
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
	must(s.PutReboot(ctx, "main", r))
	if err := s.PutReboot(ctx, "main", r); !errors.Is(err, ErrConflict) {
		t.Errorf("a second one: %v", err)
	}
	told := r
	told.Boot, told.Told = "b1", r.At
	must(s.AdvanceReboot(ctx, "main", r, told))
	is(&told)
	conflicts := func(err error) {
		t.Helper()
		if !errors.Is(err, ErrConflict) {
			t.Errorf("from what it is no more: %v", err)
		}
	}
	conflicts(s.AdvanceReboot(ctx, "main", r, r))
	is(&told)
	first := told.After("cp1")
	must(s.AdvanceReboot(ctx, "main", told, first))
	is(&first)
	if first.Boot != "" || !first.Told.IsZero() {
		t.Errorf("the next one was told before its turn: %+v", first)
	}
	must(s.AdvanceReboot(ctx, "main", first, first.After("cp2")))
	is(nil)
	must(s.PutReboot(ctx, "main", r))
	must(s.DropReboot(ctx, "main"))
	must(s.DropReboot(ctx, "main"))
	conflicts(s.AdvanceReboot(ctx, "main", r, told))
	is(nil)
}
