package store

import "testing"

// TestOnlyALeaderProvesItsEpoch: a machine that claims another epoch, or another
// store's, has no proof of it.
func TestOnlyALeaderProvesItsEpoch(t *testing.T) {
	o := testOptions(t)
	first, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	old, proof := first.Epoch(), first.Proof()
	if again := first.Proof(); proof == "" || again != proof {
		t.Errorf("proof %q, then %q", proof, again)
	}
	closeStore(t, first)
	s := open(t, o)
	for name, c := range map[string]struct {
		epoch int64
		proof string
		want  bool
	}{
		"the one before":     {old, proof, true},
		"this one":           {s.Epoch(), s.Proof(), true},
		"one that never was": {s.Epoch() + 1, s.Proof(), false},
		"an older one's":     {s.Epoch(), proof, false},
		"none":               {s.Epoch() + 1, "", false},
		"no encoding of any": {s.Epoch(), "?", false},
		"part of one":        {old, proof[:8], false},
	} {
		if got := s.Proves(c.epoch, c.proof); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	other := open(t, Options{Dir: t.TempDir(), Sealer: o.Sealer, Hostname: "test"})
	if other.Proves(s.Epoch(), s.Proof()) {
		t.Error("another store with the same key believes it")
	}
}
