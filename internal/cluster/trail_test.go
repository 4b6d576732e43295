package cluster

import (
	"testing"
	"time"
)

// TestBefore: what is compared with is one election timeout old, but of this term.
func TestBefore(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	front := func(ms int, term, index uint64) Front {
		return Front{At: start.Add(time.Duration(ms) * time.Millisecond), Term: term, Index: index}
	}
	for name, c := range map[string]struct {
		trail Trail
		now   int
		want  uint64 // its index; 0: there is none
	}{
		"nothing was seen":                    {nil, 0, 0},
		"the first look of all":               {Trail{front(0, 2, 10)}, 300, 10},
		"one election timeout ago":            {Trail{front(0, 2, 10), front(600, 2, 20), front(1200, 2, 30)}, 1700, 20},
		"too long ago":                        {Trail{front(0, 2, 10)}, 6000, 0},
		"a term that is younger":              {Trail{front(0, 2, 10), front(1500, 3, 20), front(1700, 3, 30)}, 1900, 20},
		"a term that is old enough":           {Trail{front(0, 2, 10), front(500, 3, 20), front(1700, 3, 30)}, 1900, 20},
		"a leader of before speaks once more": {Trail{front(0, 3, 10), front(1500, 2, 5)}, 1900, 10},
		"a look that began before the term's": {Trail{front(0, 2, 10), front(1500, 3, 20)}, 1400, 10},
	} {
		before, ok := c.trail.Before(start.Add(time.Duration(c.now) * time.Millisecond))
		if ok != (c.want != 0) || before.Index != c.want {
			t.Errorf("%s: got %+v, %v", name, before, ok)
		}
	}
}
