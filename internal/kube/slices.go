package kube

import (
	"net/netip"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	corev1 "k8s.io/api/core/v1"

	"cke/internal/cluster"
)

// families splits endpoints by address family.
func families(ok []cluster.Endpoint) (v4, v6 []cluster.Endpoint) {
	for _, e := range ok {
		if e.Address.Is4() {
			v4 = append(v4, e)
		} else {
			v6 = append(v6, e)
		}
	}
	return v4, v6
}

// sliceBody is one family's slice. managed-by has a value of CKE's own: what says
// endpointslice-controller.k8s.io is Kubernetes' to delete.
func sliceBody(clusterName string, k key, family discoveryv1.AddressType, of []cluster.Endpoint) (body, error) {
	object := discoveryv1.EndpointSlice{
		ObjectMeta: k.meta(clusterName, map[string]string{
			discoveryv1.LabelServiceName: objectName,
			discoveryv1.LabelManagedBy:   manager,
		}),
		AddressType: family,
		Ports:       []discoveryv1.EndpointPort{{Name: new(portName), Port: new(int32(clientPort)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for _, e := range of {
		object.Endpoints = append(object.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{e.Address.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &e.Ready, Serving: &e.Serving, Terminating: &e.Terminating},
			Hostname:   given(hostname(e)),
			NodeName:   given(nodeName(e)),
			Zone:       given(e.Zone),
		})
	}
	b, err := k.wire(&object)
	if err == nil && len(of) == 0 {
		// Owned, though empty: what somebody else wrote there must go.
		b["endpoints"] = []any{}
	}
	return b, err
}

// slicePair is what the two slices are to be. A slice's family cannot be
// changed, so that the first must be deleted when its family is to be another;
// bridge keeps the second meanwhile.
type slicePair struct {
	first, second body // second is nil when it is to go
	firstFamily   discoveryv1.AddressType
}

// pairOf arranges endpoints in slices. The first is IPv4 unless there is only
// IPv6. liveFirst is the family the first has now, "" if it is not there.
func pairOf(clusterName string, ok []cluster.Endpoint, liveFirst discoveryv1.AddressType) (slicePair, error) {
	v4, v6 := families(ok)
	p := slicePair{firstFamily: discoveryv1.AddressTypeIPv4}
	of := v4
	if len(v4) == 0 && len(v6) > 0 {
		p.firstFamily, of = discoveryv1.AddressTypeIPv6, v6
	}
	var err error
	if p.first, err = sliceBody(clusterName, sliceKey(), p.firstFamily, of); err != nil {
		return slicePair{}, err
	}
	bridge := p.firstFamily == discoveryv1.AddressTypeIPv6 && liveFirst == discoveryv1.AddressTypeIPv4
	if len(v4) > 0 && len(v6) > 0 || bridge {
		p.second, err = sliceBody(clusterName, ipv6SliceKey(), discoveryv1.AddressTypeIPv6, v6)
	}
	return p, err
}

// familyOf is a live slice's address type, "" for none.
func familyOf(live *unstructured.Unstructured) discoveryv1.AddressType {
	if live == nil {
		return ""
	}
	s, ok := live.Object["addressType"].(string)
	if !ok {
		return ""
	}
	return discoveryv1.AddressType(s)
}

// listed is one endpoint of a live slice or of live Endpoints.
type listed struct {
	name    string // its hostname, or its address
	address netip.Addr
	ready   bool
}

// listedIn reads the endpoints of a live object of either kind; what cannot be
// read is left out.
func listedIn(live *unstructured.Unstructured) []listed {
	if live == nil {
		return nil
	}
	var all []listed
	for _, e := range objectsIn(live.Object["endpoints"]) {
		ready, given, err := unstructured.NestedBool(e, "conditions", "ready")
		addresses, _ := e["addresses"].([]any) // a wrong type reads as none
		for _, a := range addresses {
			all = appendListed(all, a, e["hostname"], (ready || !given) && err == nil)
		}
	}
	for _, subset := range objectsIn(live.Object["subsets"]) {
		for _, a := range objectsIn(subset["addresses"]) {
			all = appendListed(all, a["ip"], a["hostname"], true)
		}
		for _, a := range objectsIn(subset["notReadyAddresses"]) {
			all = appendListed(all, a["ip"], a["hostname"], false)
		}
	}
	return all
}

func appendListed(all []listed, address, host any, ready bool) []listed {
	s, _ := address.(string) // a wrong type parses as no address
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return all
	}
	name, ok := host.(string)
	if !ok || name == "" {
		name = s
	}
	return append(all, listed{name, ip.Unmap(), ready})
}

// objectsIn reads a list of objects.
func objectsIn(v any) []map[string]any {
	list, _ := v.([]any) // a wrong type reads as an empty list
	var out []map[string]any
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func offersAny(all []listed) bool {
	for _, l := range all {
		if l.ready {
			return true
		}
	}
	return false
}
