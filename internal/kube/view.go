package kube

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"cke/internal/cluster"
)

// view is everything a decision about one object rests on. Decisions are pure:
// they take a view and give a move.
type view struct {
	export Export
	// version grows with each change of export.
	version uint64
	// good are the endpoints that were wanted when one that Kubernetes takes was last
	// ready.
	good []cluster.Endpoint
	// live are the objects of which the present state is known, nil for one that is
	// not there.
	live map[key]*unstructured.Unstructured
}

// chosen is what the endpoints are to be.
type chosen struct {
	ok      []cluster.Endpoint // that Kubernetes takes
	refused []cluster.Endpoint
	all     []cluster.Endpoint // for bundles, where every address will do
	// kept: none is ready, so that what was published last stays. known is false
	// when a former cke published that, and this one does not know all of it.
	kept, known bool
}

// endpoints chooses. Nothing that is ready is taken away for nothing.
func (v view) endpoints() chosen {
	ok, refused := accepted(v.export.Endpoints)
	c := chosen{ok: ok, refused: refused, all: v.export.Endpoints, known: true}
	switch {
	case anyReady(ok):
	case len(v.good) > 0:
		c.ok, c.refused = accepted(v.good)
		c.all, c.kept = v.good, true
	case v.offered():
		c.kept, c.known = true, false
	}
	return c
}

// offered says whether clients are sent anywhere now.
func (v view) offered() bool {
	for _, k := range []key{endpointsKey(), sliceKey(), ipv6SliceKey()} {
		if offersAny(listedIn(v.live[k])) {
			return true
		}
	}
	return false
}

// faults are what is wrong with what is wanted, before Kubernetes is asked.
func (v view) faults() []fault {
	c := v.endpoints()
	var out []fault
	if c.kept {
		out = append(out, fault{ruleLastGoodKept, "no member serves; Kubernetes keeps the endpoints that it was told last", "ckecli status"})
	}
	var names []string
	for _, e := range c.refused {
		names = append(names, fmt.Sprintf("%s (%s)", e.Node, e.Address))
	}
	if len(names) > 0 {
		out = append(out, fault{ruleAddressRefused,
			"Kubernetes takes no loopback, link-local or multicast address, so these are left out: " + strings.Join(names, ", "),
			"give the nodes addresses that pods can reach"})
	}
	return out
}

// move is what is to be done with one object.
type move struct {
	do   deed
	body body   // to apply or merge
	what string // for the history; "" for what is not worth a line
}

// mark tells one change from another, by a hash: a Secret's key is in it. A new
// certificate in place of a damaged one is the same change again.
func (m move) mark() string {
	b := maps.Clone(map[string]any(m.body))
	if data, ok := b["data"].(map[string]any); ok {
		data = maps.Clone(data)
		delete(data, corev1.TLSCertKey)
		delete(data, corev1.TLSPrivateKeyKey)
		b["data"] = data
	}
	return fmt.Sprintf("%d %x", m.do, sha256.Sum256([]byte(text(b))))
}

type deed int

const (
	nothing deed = iota
	apply
	merge // what an apply cannot mend
	remove
)

// whose says who made a live object, by its marks.
func whose(live *unstructured.Unstructured, clusterName string) owner {
	switch {
	case live == nil:
		return nobody
	case live.GetLabels()[labelManagedBy] != manager || live.GetAnnotations()[annotationCluster] == "":
		return someone
	case live.GetAnnotations()[annotationCluster] != clusterName:
		return another
	}
	return ours
}

type owner int

const (
	nobody  owner = iota
	someone       // not CKE
	another       // CKE, for another cluster
	ours
)

// anothers is the fault of an object that CKE keeps for another cluster.
func anothers(k key, live *unstructured.Unstructured) fault {
	return fault{ruleForeignObject,
		fmt.Sprintf("%s is cluster %q's", k, live.GetAnnotations()[annotationCluster]),
		fmt.Sprintf("one Kubernetes has the endpoints of one cluster; if that one is no more: kubectl -n %s delete %s %s",
			k.namespace, k.kind.resource.Resource, k.name)}
}

// decide is the move for one of the objects of the endpoints.
func (v view) decide(k key) (move, []fault, error) {
	live := v.live[k]
	if whose(live, v.export.Cluster) == another {
		return move{}, []fault{anothers(k, live)}, nil
	}
	switch k.kind.name {
	case serviceKind().name:
		b, err := serviceBody(v.export.Cluster)
		if err != nil {
			return move{}, nil, err
		}
		if ports := mendedPorts(live, b); ports != nil {
			return move{do: merge, body: ports, what: fmt.Sprintf("%s repaired", k)}, serviceFaults(live), nil
		}
		return applying(k, live, b), serviceFaults(live), nil
	case endpointsKind().name:
		c := v.endpoints()
		if !c.known {
			return move{}, nil, nil
		}
		b, err := endpointsBody(v.export.Cluster, c.ok)
		return applying(k, live, b), nil, err
	}
	return v.decideSlice(k)
}

func (v view) decideSlice(k key) (move, []fault, error) {
	c := v.endpoints()
	if !c.known {
		return move{}, nil, nil
	}
	first, second := v.live[sliceKey()], v.live[ipv6SliceKey()]
	pair, err := pairOf(v.export.Cluster, c.ok, familyOf(first))
	if err != nil {
		return move{}, nil, err
	}
	if k == sliceKey() {
		if first == nil || familyOf(first) == pair.firstFamily {
			return applying(k, first, pair.first), nil, nil
		}
		if pair.second != nil && !carries(second, pair.second) {
			return move{}, nil, nil // what is new comes first
		}
		return v.removing(k, first)
	}
	switch {
	case pair.second != nil && second != nil && familyOf(second) != "IPv6":
		return v.removing(k, second)
	case pair.second != nil:
		return applying(k, second, pair.second), nil, nil
	case second != nil && carries(first, pair.first):
		return v.removing(k, second)
	}
	return move{}, nil, nil
}

func applying(k key, live *unstructured.Unstructured, b body) move {
	if b == nil || carries(live, b) {
		return move{}
	}
	return move{do: apply, body: b, what: difference(k, live, b)}
}

func (v view) removing(k key, live *unstructured.Unstructured) (move, []fault, error) {
	if whose(live, v.export.Cluster) != ours {
		return move{}, []fault{{ruleForeignObject,
			fmt.Sprintf("%s is in the way and is not CKE's", k),
			fmt.Sprintf("kubectl -n %s delete %s %s", k.namespace, k.kind.resource.Resource, k.name)}}, nil
	}
	return move{do: remove, what: fmt.Sprintf("%s of %s deleted", k, familyOf(live))}, nil, nil
}

// difference says in a line what an apply changes.
func difference(k key, live *unstructured.Unstructured, b body) string {
	if live == nil {
		return fmt.Sprintf("%s created", k)
	}
	if k.kind != sliceKind() {
		// The slices say it already, and whoever reads Endpoints reads the same.
		if k.kind == endpointsKind() && len(moved(live, b)) > 0 {
			return ""
		}
		return fmt.Sprintf("%s repaired", k)
	}
	if m := moved(live, b); len(m) > 0 {
		return "endpoints: " + strings.Join(m, ", ")
	}
	return fmt.Sprintf("%s repaired", k)
}

// moved lists what becomes of each endpoint: published, withdrawn, listed as not
// ready, taken out.
func moved(live *unstructured.Unstructured, b body) []string {
	before, after := listedIn(live), listedIn(&unstructured.Unstructured{Object: b})
	find := func(all []listed, l listed) (listed, bool) {
		for _, o := range all {
			if o.address == l.address {
				return o, true
			}
		}
		return listed{}, false
	}
	var out []string
	for _, n := range after {
		o, was := find(before, n)
		switch {
		case n.ready && !(was && o.ready):
			out = append(out, n.name+" published")
		case !n.ready && was && o.ready:
			out = append(out, n.name+" withdrawn")
		case !was:
			out = append(out, n.name+" listed as not ready")
		}
	}
	for _, o := range before {
		if _, is := find(after, o); !is {
			out = append(out, o.name+" taken out")
		}
	}
	return out
}
