package cluster

import (
	"net/netip"
	"time"

	"cke/internal/units"
)

// Kubernetes says how Kubernetes uses the cluster, and where its endpoints are
// published.
type Kubernetes struct {
	// Kubeconfig is a file on cke's machine, or InCluster for the service account
	// of cke's own pod. Empty: nothing is published.
	Kubeconfig string `json:"kubeconfig,omitempty" yaml:"kubeconfig,omitempty"`
	// APIServer says where nodes with apiserver: true get the API server's client
	// certificate.
	APIServer ClientFiles `json:"apiserver,omitzero" yaml:"apiserver,omitempty"`
	// GatewayPort is where gateways listen, on 127.0.0.1 of their machines.
	GatewayPort uint16 `json:"gateway_port,omitempty" yaml:"gateway_port,omitempty"`
}

// InCluster stands in for a kubeconfig.
const InCluster = "in-cluster"

// ClientFiles is how the API server's client certificate lies on a machine. The
// names of the files are fixed: a request to a host can name a directory of
// those the host allows, and nothing in it.
type ClientFiles struct {
	Directory string `json:"directory,omitempty" yaml:"directory,omitempty"` // default /etc/kubernetes/pki
	Owner     string `json:"owner,omitempty" yaml:"owner,omitempty"`         // a user's name; default root
	Group     string `json:"group,omitempty" yaml:"group,omitempty"`         // default root
	// Mode is the key's, "0600" or narrower, or "0640"; the certificates are 0644.
	Mode string `json:"mode,omitempty" yaml:"mode,omitempty"`
}

// The files in ClientFiles.Directory.
const (
	ClientCertFile = "apiserver-etcd-client.crt"
	ClientKeyFile  = "apiserver-etcd-client.key"
	ClientCAFile   = "etcd-ca.crt"
)

// What Kubernetes settings mean where they say nothing.
const (
	DefaultClientDirectory        = "/etc/kubernetes/pki"
	DefaultClientOwner            = "root" // and its group
	DefaultClientMode             = "0600"
	DefaultGatewayPort     uint16 = 12379
	// DefaultBundleTTL is how long a certificate in a Secret lives; it is renewed
	// at two thirds.
	DefaultBundleTTL = units.Duration(30 * 24 * time.Hour)
)

// Endpoint is one voter, or one that is about to stop voting, as clients are
// told of it.
type Endpoint struct {
	Member  MemberID   `json:"member"`
	Node    NodeName   `json:"node"` // also its hostname in DNS
	Address netip.Addr `json:"address"`
	Zone    string     `json:"zone,omitempty"`
	// KubernetesNode is the Node object's name, where the spec gives one.
	KubernetesNode string `json:"kubernetes_node,omitempty"`
	// Ready: it serves and is to stay. Serving: it serves. Terminating: it is
	// about to be stopped or taken out. Restarting, beside it: it is stopped, to be
	// started again or taken out then.
	Ready       bool `json:"ready"`
	Serving     bool `json:"serving"`
	Terminating bool `json:"terminating"`
	Restarting  bool `json:"restarting,omitempty"`
}

// Upstream is one member that a gateway leads to.
type Upstream struct {
	Node    NodeName       `json:"node"`
	Address netip.AddrPort `json:"address"`
	// Draining: no new connection goes there, and those that do are ended at a
	// quiet moment.
	Draining bool `json:"draining,omitempty"`
	// Restarting, beside Draining: the connections that go there stay. The member
	// ends them itself when it stops, and lets each request be answered first.
	Restarting bool `json:"restarting,omitempty"`
}

// Gateway is what a machine's gateway is to do.
type Gateway struct {
	Cluster   string     `json:"cluster"`
	Port      uint16     `json:"port"`
	Upstreams []Upstream `json:"upstreams"` // by node name
}

// GatewayState is a machine's gateway as its helper found it.
type GatewayState struct {
	// Gateway is what was installed last.
	Gateway Gateway `json:"gateway"`
	Running bool    `json:"running"`
	// Applied: the running process goes by exactly this list.
	Applied bool `json:"applied"`
	// Outdated: its program is so old that it must be replaced.
	Outdated bool `json:"outdated,omitempty"`
	// Connections are the open ones, by upstream.
	Connections map[NodeName]int `json:"connections,omitempty"`
	// Exit is how its last process ended; empty while it runs.
	Exit string `json:"exit,omitempty"`
}

// Published is what Kubernetes was told last.
type Published struct {
	// Wanted: the spec names a kubeconfig. Nothing else counts if not.
	Wanted bool `json:"wanted"`
	// Ready are the addresses that are published as ready now, as far as known.
	Ready []netip.Addr `json:"ready,omitempty"`
	// Unknown: Kubernetes was not heard yet, and may be sending clients anywhere.
	Unknown bool `json:"unknown,omitempty"`
	// Trouble is why Kubernetes cannot be told now; empty when it can.
	Trouble string `json:"trouble,omitempty"`
}

// Offers says whether clients are still sent to an address, as far as is known,
// and could be told otherwise.
func (p Published) Offers(a netip.Addr) bool {
	switch {
	case !p.Wanted:
		return false
	case p.Unknown:
		return true
	case p.Trouble != "":
		return false
	}
	for _, r := range p.Ready {
		if r == a {
			return true
		}
	}
	return false
}

// Condition is how one thing stands that CKE keeps outside of etcd.
type Condition struct {
	// Subject names it: "endpoints", "secret shop/etcd".
	Subject string `json:"subject"`
	OK      bool   `json:"ok"`
	// Rule is a sentence in camel case, such as apiServerIsUnreachable.
	Rule  string    `json:"rule,omitempty"`
	Text  string    `json:"text,omitempty"`
	Hint  string    `json:"hint,omitempty"`
	Since time.Time `json:"since"`
}

// Bundle is a Secret that an application's pods find everything in.
type Bundle struct {
	User      string         `json:"user"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	TTL       units.Duration `json:"ttl"`
	// Removing: the Secret is to go, and this record with it.
	Removing bool `json:"removing,omitempty"`
}

// Key names a bundle within its cluster: namespace/name.
func (b Bundle) Key() string { return b.Namespace + "/" + b.Name }
