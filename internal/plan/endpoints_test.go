package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cke/internal/cluster"
)

// endpointLine is how the tests here write an endpoint: its node, and + ready,
// ~ terminating, - dead.
func endpointLine(eps []cluster.Endpoint) string {
	words := make([]string, len(eps))
	for i, e := range eps {
		mark := map[[3]bool]string{
			{true, true, false}: "+", {false, true, true}: "~", {false, false, false}: "-",
		}[[3]bool{e.Ready, e.Serving, e.Terminating}]
		if mark == "" {
			mark = fmt.Sprintf("?%+v", e)
		}
		words[i] = string(e.Node) + mark
	}
	return strings.Join(words, " ")
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	const three = "node cp1 10.0.0.1\nnode cp2 10.0.0.2\nnode cp3 10.0.0.3\n"
	const behind = three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nunit cp2 old\nmember cp3 = index 100"
	const leaving = three + "node old 10.0.0.9 leaving\nphase bootstrapped\n"
	for name, c := range map[string]struct{ world, want string }{
		"all serve":                      {three + "phase bootstrapped\nhealthy cp2 cp1 cp3", "cp1+ cp2+ cp3+"},
		"a dead one":                     {three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nmember cp2 = down 1s", "cp1+ cp2- cp3+"},
		"a learner is none":              {three + "phase bootstrapped\nhealthy cp1 cp2\nmember cp3 5 learner", "cp1+ cp2+"},
		"one is to go":                   {leaving + "healthy cp1 cp2 cp3 old", "cp1+ cp2+ cp3+ old~"},
		"the leader is to go":            {leaving + "healthy old cp1 cp2 cp3", "cp1+ cp2+ cp3+ old~"},
		"two are to go, one first":       {three + "node a 10.0.0.8 leaving\nnode b 10.0.0.9 leaving\nphase bootstrapped\nhealthy cp1 cp2 cp3 a b", "cp1+ cp2+ cp3+ a~ b+"},
		"it stays while another is down": {leaving + "healthy cp1 cp2 cp3 old\nmember cp2 = down 1s", "cp1+ cp2- cp3+ old+"},
		"it goes after others have come": {leaving + "healthy cp1 cp2 old", "cp1+ cp2+ old+"},
		"its data is lost":               {three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nunit cp3 lost", "cp1+ cp2+ cp3~"},
		"lost, and all there is":         {"node cp1 10.0.0.1\nphase bootstrapped\nhealthy cp1\nunit cp1 lost", "cp1+"},
		"lost, and clients know no other": {
			"node cp1 10.0.0.1\nphase bootstrapped\nhealthy cp1\nunit cp1 lost\nstranger 10.0.0.7 leader\nstranger 10.0.0.8 serves", "cp1+",
		},
		"it was to be restarted":      {behind, "cp1+ cp2+ cp3+"},
		"it still is":                 {behind + "\nwithdrawn cp2 1s", "cp1+ cp2~ cp3+"},
		"it is for too long":          {behind + "\nwithdrawn cp2 10s", "cp1+ cp2+ cp3+"},
		"it is to be restarted":       {three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nunit cp2 old", "cp1+ cp2~ cp3+"},
		"not while another is behind": {three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nunit cp2 old\nmember cp3 = index 100", "cp1+ cp2+ cp3+"},
		"once withdrawn, while another is behind, too": {
			three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nunit cp2 old\nmember cp3 = index 100\nwithdrawn cp2 1s", "cp1+ cp2~ cp3+",
		},
		"its restart is on record, and its host slow to say more": {
			three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nunit cp2 old\nrestart cp2 5s\nhost cp2 awaited", "cp1+ cp2~ cp3+",
		},
		"once withdrawn, but another is down": {
			three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nunit cp2 old\nmember cp3 = down 1s\nwithdrawn cp2 1s", "cp1+ cp2+ cp3-",
		},
		"a step takes it out, and another fell since": {leaving + "healthy cp1 cp2 cp3 old\nmember cp2 = down 1s\nparting old", "cp1+ cp2- cp3+ old~"},
		"a step takes it out, and another is to go":   {leaving + "healthy cp1 cp2 cp3 old\nparting cp3", "cp1+ cp2+ cp3~ old+"},
		"a step takes it out, and it does not serve":  {leaving + "healthy cp1 cp2 cp3 old\nmember cp3 = down 1s\nparting cp3", "cp1+ cp2+ cp3- old+"},
		"of two none is led away":                     {"node cp1 10.0.0.1\nnode cp2 10.0.0.2\nphase bootstrapped\nhealthy cp1 cp2\nparting cp2 restarts", "cp1+ cp2+"},
		"paused":                                      {leaving + "healthy cp1 cp2 cp3 old\npaused", "cp1+ cp2+ cp3+ old+"},
		"no quorum, and a memory":                     {three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nmember cp1 = down 1s\nmember cp2 = down 1s\nmember cp3 = down 1s\nstale", "cp1- cp2- cp3-"},
		"nobody answers":                              {three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nnoquorum", ""},
		"another cluster":                             {three + "phase bootstrapped\nhealthy cp1 cp2 cp3\nclusterid ee", ""},
		"before it is founded":                        {three + "phase bootstrapping\nhealthy cp1 cp2 cp3", ""},
	} {
		w := parseWorld(t, c.world)
		if got := endpointLine(Endpoints(w.spec, w.st, w.now)); got != c.want {
			t.Errorf("%s: %q, want %q; the plan is\n%s", name, got, c.want, Decide(w.spec, w.st, w.now))
		}
	}
}

func TestEndpointsCarryWhatTheSpecSays(t *testing.T) {
	t.Parallel()
	w := parseWorld(t, "node cp1 ::ffff:10.0.0.1\nphase bootstrapped\nhealthy cp1")
	w.spec.Nodes[0].Zone, w.spec.Nodes[0].KubernetesNode = "rack-1", "cp1.example.org"
	got := Endpoints(w.spec, w.st, w.now)
	want := cluster.Endpoint{
		Member: idOf(w.spec.Nodes[0]), Node: "cp1", Address: w.spec.Nodes[0].Address.Unmap(), Zone: "rack-1", KubernetesNode: "cp1.example.org",
		Ready: true, Serving: true,
	}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestEndpointsAgreeWithThePlan draws clusters in any state: clients are told of
// somebody while anybody they can know serves, a serving member is removed only
// after they were told that it goes, and who is told to go is who the plan means.
func TestEndpointsAgreeWithThePlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w := drawWorld(t, r)
		eps, p := Endpoints(w.spec, w.st, w.now), Decide(w.spec, w.st, w.now)
		var serving, ready, going []cluster.MemberID
		for _, e := range eps {
			if e.Serving {
				serving = append(serving, e.Member)
			}
			if e.Ready {
				ready = append(ready, e.Member)
			}
			if e.Terminating {
				going = append(going, e.Member)
			}
			if strings.Contains(endpointLine([]cluster.Endpoint{e}), "?") {
				r.Fatalf("%+v", e)
			}
		}
		if len(serving) > 0 && len(ready) == 0 || len(going) > 1 {
			r.Fatalf("%s\n%s", endpointLine(eps), p)
		}
		var meant []cluster.MemberID
		for _, s := range p.Steps {
			if (s.Kind == RemoveMember || s.Kind == MoveLeader) && slices.Contains(serving, s.Member) {
				meant = append(meant, s.Member)
			}
		}
		waiting := slices.ContainsFunc(p.Reasons, func(r Reason) bool { return r.Rule == "endpointIsBeingWithdrawn" })
		switch {
		case len(meant) > 0 && len(serving) > 1 && !slices.Equal(meant, going):
			r.Fatalf("%s\n%s", endpointLine(eps), p)
		case len(meant) == 0 && waiting != (len(going) > 0):
			r.Fatalf("%s\n%s", endpointLine(eps), p)
		}
	})
}

// drawWorld is up to six nodes, some leaving, with members in any state.
func drawWorld(t *testing.T, r *rapid.T) world {
	var text strings.Builder
	var names []string
	for i := range rapid.IntRange(1, 6).Draw(r, "nodes") {
		name := fmt.Sprintf("n%d", i)
		names = append(names, name)
		fmt.Fprintf(&text, "node %s 10.0.0.%d remote %s\n", name, i+1, rapid.SampledFrom([]string{"", "", "worker", "leaving", "gateway"}).Draw(r, "kind"))
	}
	fmt.Fprintf(&text, "members %d\nphase bootstrapped\n", rapid.IntRange(0, 3).Draw(r, "members"))
	fmt.Fprintf(&text, "healthy %s\n", strings.Join(names, " "))
	for _, name := range names {
		form := rapid.SampledFrom([]string{
			"", "", "", "member %s = down 1s", "member %s = down 6m", "gone %s", "unit %s lost", "member %s = learner",
			"host %s unreachable", "gateway %s n0 -n0", "gateway %s -n0 stale",
		}).Draw(r, "state")
		if form != "" {
			fmt.Fprintf(&text, form+"\n", name)
		}
	}
	if rapid.Bool().Draw(r, "published") {
		fmt.Fprintf(&text, "published 10.0.0.%d 10.0.0.%d\n", rapid.IntRange(1, 6).Draw(r, "ready"), rapid.IntRange(1, 6).Draw(r, "ready too"))
	}
	if rapid.Bool().Draw(r, "stranger") {
		text.WriteString("stranger 10.0.0.99 serves\n")
	}
	w := parseWorld(t, text.String())
	if rapid.Bool().Draw(r, "for long") {
		w.st.WithdrawnSince = map[cluster.MemberID]time.Time{}
		for _, m := range w.st.Etcd.Members {
			w.st.WithdrawnSince[m.ID] = w.now.Add(-rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(r, "since"))
		}
	}
	return w
}
