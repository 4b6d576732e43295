package cluster

import "testing"

func TestRangesOverlap(t *testing.T) {
	for _, c := range []struct {
		k1, e1, k2, e2 string
		want           bool
	}{
		{"/a/", "/a0", "/b/", "/b0", false},
		{"/a/", "/a0", "/a/x/", "/a/x0", true},
		{"/a/", "/a0", "/a", "", false},
		{"/a/", "/a0", "/a/1", "", true},
		{"/a/", "/a0", "/a0", "/b", false}, // the end is not in it
		{"", "\x00", "/z/", "/z0", true},
		{"/m", "\x00", "/a/", "/a0", false},
		{"/m", "\x00", "/z", "", true},
		{"/k", "", "/k", "", true},
		{"/k", "", "/l", "", false},
	} {
		if got := RangesOverlap(c.k1, c.e1, c.k2, c.e2); got != c.want {
			t.Errorf("[%q, %q) and [%q, %q): %v", c.k1, c.e1, c.k2, c.e2, got)
		}
		if got := RangesOverlap(c.k2, c.e2, c.k1, c.e1); got != c.want {
			t.Errorf("the other way round: [%q, %q) and [%q, %q): %v", c.k1, c.e1, c.k2, c.e2, got)
		}
	}
}
