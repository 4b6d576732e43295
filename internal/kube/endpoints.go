package kube

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"cke/internal/cluster"
)

const labelSkipMirror = "endpointslice.kubernetes.io/skip-mirror"

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// accepted splits endpoints into those that Kubernetes takes and those it
// refuses, each in their order and with plain IPv4 addresses.
func accepted(all []cluster.Endpoint) (ok, refused []cluster.Endpoint) {
	for _, e := range all {
		e.Address = e.Address.Unmap()
		e.Ready = e.Ready && !e.Terminating
		if cluster.PublishableAddr(e.Address) == "" {
			ok = append(ok, e)
		} else {
			refused = append(refused, e)
		}
	}
	return ok, refused
}

// anyReady says whether clients have anywhere to go.
func anyReady(all []cluster.Endpoint) bool {
	for _, e := range all {
		if e.Ready && !e.Terminating {
			return true
		}
	}
	return false
}

// hostname is the endpoint's name in DNS, "" where it would be none.
func hostname(e cluster.Endpoint) string {
	if s := string(e.Node); dnsLabel.MatchString(s) {
		return s
	}
	return ""
}

// nodeName is the Node object's name, "" where no Node can be called so.
func nodeName(e cluster.Endpoint) string {
	if len(e.KubernetesNode) > 253 {
		return ""
	}
	for part := range strings.SplitSeq(e.KubernetesNode, ".") {
		if !dnsLabel.MatchString(part) {
			return ""
		}
	}
	return e.KubernetesNode
}

// endpointsBody is the old kind, for who still reads it. Kubernetes must not
// mirror it into a slice of its own: CKE writes the slices.
//
//nolint:staticcheck // deprecated, and promised
func endpointsBody(clusterName string, ok []cluster.Endpoint) (body, error) {
	subset := corev1.EndpointSubset{
		Ports: []corev1.EndpointPort{{Name: portName, Port: clientPort, Protocol: corev1.ProtocolTCP}},
	}
	for _, e := range ok {
		a := corev1.EndpointAddress{IP: e.Address.String(), Hostname: hostname(e), NodeName: given(nodeName(e))}
		if e.Ready {
			subset.Addresses = append(subset.Addresses, a)
		} else {
			subset.NotReadyAddresses = append(subset.NotReadyAddresses, a)
		}
	}
	k := endpointsKey()
	object := corev1.Endpoints{
		ObjectMeta: k.meta(clusterName, map[string]string{labelSkipMirror: "true"}),
	}
	if len(ok) > 0 {
		object.Subsets = []corev1.EndpointSubset{subset}
	}
	b, err := k.wire(&object)
	if err == nil && len(ok) == 0 {
		b["subsets"] = []any{} // owned, though empty
	}
	return b, err
}

// given is a pointer to what is set.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
