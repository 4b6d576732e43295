package plan

import (
	"strings"
	"testing"

	"cke/internal/cluster"
)

// What must be true before everything is removed from a node, and before its
// record is dropped unseen.
func TestWhatMayBeCleaned(t *testing.T) {
	const three = `
node cp1 10.0.0.1
node cp2 10.0.0.2
node cp3 10.0.0.3
node cp4 10.0.0.4
node old 10.0.0.9 leaving
members 3
phase bootstrapped
healthy cp1 cp2 cp3
`
	for name, c := range map[string]struct {
		world, node   string
		clean, forget string // why not; empty: it may be
	}{
		"a spare":                 {three, "cp4", "", "in the spec"},
		"one that carries":        {three, "cp2", "carries member", "in the spec"},
		"one that is to carry":    {three + "gone cp3\nnounit cp3\n", "cp3", "data of member", "in the spec"},
		"a bare one that is to":   {three + "members 4\n", "cp4", "to carry a member", "in the spec"},
		"a leaving one":           {three, "old", "", ""},
		"a leaving one that does": {three + "member old 77\n", "old", "carries member 77", "carries member 77"},
		"its data in place":       {three + "data old 77\n", "old", "data of member 77", ""},
		"its unit":                {three + "unit old 77 stopped\n", "old", "a unit of member 77", ""},
		"away":                    {three + "host old unreachable\n", "old", "does not answer", ""},
		"another's":               {three + "host old fenced\n", "old", "CKE store b2", ""},
		"no quorum":               {three + "stale\n", "old", "no quorum", "no quorum"},
		"nobody answers":          {three + "noquorum\n", "old", "no quorum", "no quorum"},
		"another cluster":         {three + "clusterid ee\n", "old", "recorded cluster", "recorded cluster"},
		"mixed":                   {three + "mixed\n", "old", "recorded cluster", "recorded cluster"},
		"not founded":             {"node cp1 10.0.0.1\nnode old 10.0.0.9 leaving\nphase bootstrapping\nhealthy cp1\n", "old", "not founded", "not founded"},
	} {
		w := parseWorld(t, c.world)
		n := w.find(cluster.NodeName(c.node))
		check := func(what, got, want string) {
			if (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("%s: %s: %q, want %q", name, what, got, want)
			}
		}
		why, hint := CleanRefused(w.spec, w.st, n, w.st.Nodes[n.Hostname])
		check("clean", why, c.clean)
		if (why == "") != (hint == "") {
			t.Errorf("%s: %q with hint %q", name, why, hint)
		}
		why, _ = ForgetRefused(w.spec, w.st, n, false)
		check("forget", why, c.forget)
		if why, _ = ForgetRefused(w.spec, w.st, n, true); why != "" {
			t.Errorf("%s: one that has left is not forgotten: %s", name, why)
		}
	}
}
