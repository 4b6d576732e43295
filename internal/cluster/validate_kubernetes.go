package cluster

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"cke/internal/units"
)

// minGatewayPort keeps gateways, which are nobody, off the privileged ports.
const minGatewayPort = 1024

// The bounds of how much history etcd may be asked to keep. Zero would turn its
// compaction off.
const (
	MinRetention = units.Duration(time.Second)
	MaxRetention = units.Duration(365 * 24 * time.Hour)
)

// withDefaults fills in what was left out.
func (k Kubernetes) withDefaults() Kubernetes {
	if k.APIServer.Directory == "" {
		k.APIServer.Directory = DefaultClientDirectory
	}
	if k.APIServer.Owner == "" {
		k.APIServer.Owner = DefaultClientOwner
	}
	if k.APIServer.Group == "" {
		k.APIServer.Group = DefaultClientOwner
	}
	if k.APIServer.Mode == "" {
		k.APIServer.Mode = DefaultClientMode
	}
	if k.GatewayPort == 0 {
		k.GatewayPort = DefaultGatewayPort
	}
	return k
}

// ClientModes are the modes that the API server's key may have.
func ClientModes() []string { return []string{DefaultClientMode, "0400", "0640", "0440"} }

func (s Spec) validateKubernetes(ps *problems) {
	k := s.Kubernetes
	if c := k.Kubeconfig; c != "" && c != InCluster && (!path.IsAbs(c) || !printable(c)) {
		ps.add("kubernetes.kubeconfig", "kubeconfig %.80q is neither an absolute path nor %s", c, InCluster)
	}
	s.warnUnpublishable(ps)
	k.APIServer.validate(ps)
	switch p := k.GatewayPort; {
	case p < minGatewayPort:
		ps.add("kubernetes.gateway_port", "gateway_port %d is privileged: at least %d", p, minGatewayPort)
	case p >= ClientPort && p <= ClientHTTPPort:
		ps.add("kubernetes.gateway_port", "gateway_port %d is one of a member's own ports, %d to %d", p, ClientPort, ClientHTTPPort)
	}
}

func (f ClientFiles) validate(ps *problems) {
	if d := f.Directory; !path.IsAbs(d) || path.Clean(d) != d || d == "/" || !printable(d) {
		ps.add("kubernetes.apiserver.directory", "directory %.80q is not an absolute path without . and .. in it", d)
	}
	if !unixName.MatchString(f.Owner) {
		ps.add("kubernetes.apiserver.owner", "owner %.80q is not the name of a unix user", f.Owner)
	}
	if !unixName.MatchString(f.Group) {
		ps.add("kubernetes.apiserver.group", "group %.80q is not the name of a unix group", f.Group)
	}
	if !slices.Contains(ClientModes(), f.Mode) {
		ps.add("kubernetes.apiserver.mode", "mode %.80q is none of %s: the key is for its owner and group only", f.Mode, strings.Join(ClientModes(), ", "))
	}
}

// warnUnpublishable names the addresses that Kubernetes does not take.
func (s Spec) warnUnpublishable(ps *problems) {
	if s.Kubernetes.Kubeconfig == "" {
		return
	}
	var refused []string
	for _, n := range s.Nodes {
		if !n.ControlPlane || !n.Address.IsValid() || unusable(n.Address) != "" {
			continue
		}
		if why := PublishableAddr(n.Address); why != "" {
			refused = append(refused, n.Address.String()+" "+why)
		}
	}
	if len(refused) > 0 {
		ps.warn("kubernetes.kubeconfig", "Kubernetes refuses these addresses of nodes, so nothing is published for their members: %s", strings.Join(refused, ", "))
	}
}

// PublishableAddr says why Kubernetes refuses an address in Endpoints and
// EndpointSlices, or nothing (ValidateEndpointIP in k8s.io/kubernetes,
// pkg/apis/core/validation).
func PublishableAddr(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return "is no address"
	case a.Zone() != "":
		return "has a zone"
	case a.IsUnspecified():
		return "is the unspecified address"
	case a.IsLoopback():
		return "is a loopback address"
	case a.IsLinkLocalUnicast():
		return "is link-local"
	case a.IsMulticast():
		return "is a multicast address"
	}
	return ""
}

// validateKubernetes looks at what a node does for Kubernetes. Both need a
// machine of the node's own, reached over SSH: cke's own may be anybody's.
func (n Node) validateKubernetes(ps *problems, at string) {
	if k := n.KubernetesNode; k != "" && !isObjectName(k) {
		ps.add(at+".kubernetes_node", "kubernetes_node %.80q is not a DNS name of up to %d characters, as Kubernetes names nodes", k, maxDNSName)
	}
	if n.Remote() {
		return
	}
	if n.APIServer {
		ps.add(at+".apiserver", "apiserver needs user: the certificate is kept on a machine of its own, reached over SSH")
	}
	if n.Gateway {
		ps.add(at+".gateway", "gateway needs user: a gateway runs on a machine of its own, reached over SSH")
	}
}

func (s Spec) validateKubernetesNodes(ps *problems) {
	first := map[string]int{}
	for i, n := range s.Nodes {
		if n.KubernetesNode == "" {
			continue
		}
		if j, ok := first[n.KubernetesNode]; ok {
			ps.add(fmt.Sprintf("nodes[%d].kubernetes_node", i), "kubernetes_node %.80q is already that of nodes[%d]", n.KubernetesNode, j)
			continue
		}
		first[n.KubernetesNode] = i
	}
}
