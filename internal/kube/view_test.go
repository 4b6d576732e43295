package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"cke/internal/cluster"
)

func live(t *testing.T, b body, err error) *unstructured.Unstructured {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if b == nil {
		return nil
	}
	return &unstructured.Unstructured{Object: b}
}

// published are the live objects after all of these endpoints went out.
func published(t *testing.T, all []cluster.Endpoint) map[key]*unstructured.Unstructured {
	t.Helper()
	ok, _ := accepted(all)
	pair, err := pairOf("main", ok, "")
	first := live(t, pair.first, err)
	endpoints, err := endpointsBody("main", ok)
	return map[key]*unstructured.Unstructured{
		sliceKey(): first, ipv6SliceKey(): live(t, pair.second, nil), endpointsKey(): live(t, endpoints, err),
	}
}

func names(all []cluster.Endpoint) string {
	var out []string
	for _, e := range all {
		out = append(out, string(e.Node))
	}
	return strings.Join(out, " ")
}

func TestNothingReadyIsTakenAwayForNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what               string
		export, good, live []cluster.Endpoint
		want               string
	}{
		{"all is well", es("a 10.0.0.1", "b !10.0.0.2"), es("x 10.0.0.9"), es("x 10.0.0.9"), "a b known"},
		{"nobody serves", es("a !10.0.0.1"), es("x 10.0.0.9", "y !10.0.0.8"), nil, "x y kept known"},
		{"nobody is there", nil, es("x 10.0.0.9"), nil, "x kept known"},
		{"all are to stop", es("a -10.0.0.1"), es("a 10.0.0.1"), nil, "a kept known"},
		{"nobody serves, and a former cke published", es("a !10.0.0.1"), nil, es("a 10.0.0.1"), "a kept"},
		{"nobody serves, nor did before", es("a !10.0.0.1"), nil, es("a !10.0.0.1"), "a known"},
		{"first of all", es("a !10.0.0.1"), nil, nil, "a known"},
		{"none can be published", es("a 127.0.0.1"), nil, nil, "known"},
		{"none can be published any more", es("a 127.0.0.1"), es("a 10.0.0.1"), nil, "a kept known"},
	} {
		v := view{export: Export{Endpoints: c.export}, good: c.good}
		if c.live != nil {
			v.live = published(t, c.live)
		}
		got := v.endpoints()
		said := names(got.ok)
		if got.kept {
			said += " kept"
		}
		if got.known {
			said += " known"
		}
		if strings.TrimSpace(said) != c.want {
			t.Errorf("%s: %q, want %q", c.what, said, c.want)
		}
	}
}

// Whatever becomes of the families: step by step all ends as it should, what is
// deleted is replaced by then, and at no time does a slice of a family that stays
// go without the other being there.
func TestFamiliesChangeStepByStep(t *testing.T) {
	t.Parallel()
	states := map[string][]cluster.Endpoint{
		"4": es("a 10.0.0.1"), "6": es("b 2001:db8::1"), "46": es("a 10.0.0.1", "b 2001:db8::1"), "none": nil,
	}
	for from, before := range states {
		for to, after := range states {
			if to == "none" {
				continue
			}
			v := view{export: Export{Cluster: "main", Endpoints: after}, live: published(t, before)}
			var deeds []string
			for {
				m, k := nextSlice(t, v)
				if m.do == nothing {
					break
				}
				deeds = append(deeds, fmt.Sprintf("%s:%d", k.name, m.do))
				v.live[k] = nil
				if m.do == apply {
					v.live[k] = &unstructured.Unstructured{Object: m.body}
				}
				// From IPv6 at once to IPv4 there is nothing to bridge with.
				if from != "none" && !v.offered() && (from != "6" || to != "4") {
					t.Fatalf("%s → %s: nothing is offered after %v", from, to, deeds)
				}
				if len(deeds) > 8 {
					t.Fatalf("%s → %s never ends: %v", from, to, deeds)
				}
			}
			want := published(t, after)
			for _, k := range []key{sliceKey(), ipv6SliceKey()} {
				if (v.live[k] == nil) != (want[k] == nil) || want[k] != nil && !carries(v.live[k], want[k].Object) {
					t.Errorf("%s → %s: %s is %v after %v", from, to, k, v.live[k], deeds)
				}
			}
		}
	}
}

// nextSlice is the next move for either slice, the Endpoints left out.
func nextSlice(t *testing.T, v view) (move, key) {
	t.Helper()
	delete(v.live, endpointsKey())
	for _, k := range []key{sliceKey(), ipv6SliceKey()} {
		m, faults, err := v.decide(k)
		if err != nil || len(faults) > 0 {
			t.Fatalf("%s: %v %v", k, faults, err)
		}
		if m.do != nothing {
			return m, k
		}
	}
	return move{}, key{}
}

func TestNothingForeignIsDeleted(t *testing.T) {
	t.Parallel()
	v := view{export: Export{Cluster: "main", Endpoints: es("b 2001:db8::1")}, live: published(t, es("b 2001:db8::1"))}
	foreign := &unstructured.Unstructured{Object: map[string]any{"addressType": "IPv4"}}
	v.live[sliceKey()] = foreign
	pair, err := pairOf("main", es("b 2001:db8::1"), "IPv4")
	v.live[ipv6SliceKey()] = live(t, pair.second, err)
	m, faults, err := v.decide(sliceKey())
	if err != nil || m.do != nothing || len(faults) != 1 || faults[0].rule != ruleForeignObject {
		t.Errorf("%v %v %v", m, faults, err)
	}
}

func TestMoved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after []cluster.Endpoint
		want          string
	}{
		{nil, es("a 10.0.0.1", "b !10.0.0.2"), "a published, b listed as not ready"},
		{es("a 10.0.0.1", "b !10.0.0.2"), es("a !10.0.0.1", "b 10.0.0.2"), "a withdrawn, b published"},
		{es("a 10.0.0.1", "b !10.0.0.2"), es("a 10.0.0.1"), "b taken out"},
		{es("a 10.0.0.1"), es("a 10.0.0.1"), ""},
	} {
		for _, k := range []key{sliceKey(), endpointsKey()} { // the latter are listed by readiness
			got := moved(published(t, c.before)[k], published(t, c.after)[k].Object)
			want := strings.Split(c.want, ", ")
			slices.Sort(got)
			slices.Sort(want)
			if strings.Join(got, ", ") != strings.Join(want, ", ") {
				t.Errorf("%s: %q, want %q", k.kind.name, got, want)
			}
		}
	}
}

func TestPublishable(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"10.0.0.1": true, "192.0.2.1": true, "2001:db8::1": true, "fd00::1": true, "::ffff:10.0.0.1": true,
		"127.0.0.1": false, "::1": false, "169.254.0.1": false, "fe80::1": false, "224.0.0.1": false, "ff02::1": false,
		"0.0.0.0": false, "::": false, "::ffff:127.0.0.1": false,
	} {
		if ok, _ := accepted(es("a " + address)); (len(ok) == 1) != want {
			t.Errorf("%s: publishable %v", address, !want)
		}
	}
}
