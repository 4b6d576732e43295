// Package cluster holds the nouns everything else speaks in: the Spec an
// operator wants, the State that was observed, and the identities in between.
// It does no I/O; its only knowledge of the outside is the field's vocabulary.
package cluster

import (
	"net/netip"

	"cke/internal/units"
)

// NodeName is a node's hostname, a DNS-1123 label, unique within a cluster.
type NodeName string

// Spec is what an operator wants of one cluster, as written in cluster.yml.
type Spec struct {
	Name          string     `json:"name" yaml:"name"`
	ClusterDomain string     `json:"cluster_domain" yaml:"cluster_domain"`
	Nodes         []Node     `json:"nodes" yaml:"nodes"`
	Etcd          Etcd       `json:"etcd" yaml:"etcd"`
	Preflight     Preflight  `json:"preflight,omitzero" yaml:"preflight,omitempty"`
	Kubernetes    Kubernetes `json:"kubernetes,omitzero" yaml:"kubernetes,omitempty"`
	Backup        Backup     `json:"backup,omitzero" yaml:"backup,omitempty"`
}

// Node is one machine of the cluster.
type Node struct {
	Address      netip.Addr `json:"address" yaml:"address"`
	Hostname     NodeName   `json:"hostname" yaml:"hostname"`
	ControlPlane bool       `json:"control_plane,omitempty" yaml:"control_plane,omitempty"`
	// User is the SSH user; empty means this machine.
	User string `json:"user,omitempty" yaml:"user,omitempty"`
	// Port is where its sshd listens; 0 means 22.
	Port uint16 `json:"port,omitempty" yaml:"port,omitempty"`
	// HostKey pins the machine's SSH host key: "SHA256:…" as ssh-keygen -l
	// prints it, or a public key line. Empty: the key trusted with `node trust`
	// or found in a known_hosts file.
	HostKey string `json:"host_key,omitempty" yaml:"host_key,omitempty"`
	Zone    string `json:"zone,omitempty" yaml:"zone,omitempty"`
	// KubernetesNode is the name of its Node in Kubernetes, where it has one that
	// the endpoints should name.
	KubernetesNode string `json:"kubernetes_node,omitempty" yaml:"kubernetes_node,omitempty"`
	// APIServer: a kube-apiserver runs here; its client certificate is kept here.
	APIServer bool `json:"apiserver,omitempty" yaml:"apiserver,omitempty"`
	// Gateway: a cke-gateway runs here, for every process of this machine.
	Gateway bool `json:"gateway,omitempty" yaml:"gateway,omitempty"`
}

// Etcd says how the members run.
type Etcd struct {
	Version string `json:"version" yaml:"version"`
	// Members is how many voters are wanted; 0 means every control-plane node.
	Members      int            `json:"members,omitempty" yaml:"members,omitempty"`
	ReplaceAfter units.Duration `json:"replace_after" yaml:"replace_after"`
	Quota        units.Size     `json:"quota" yaml:"quota"`
	// CompactionRetention is how much history etcd keeps; it compacts itself.
	CompactionRetention units.Duration    `json:"compaction_retention,omitzero" yaml:"compaction_retention,omitempty"`
	ExtraArgs           map[string]string `json:"extra_args,omitempty" yaml:"extra_args,omitempty"`
	ExtraEnv            map[string]string `json:"extra_env,omitempty" yaml:"extra_env,omitempty"`
	Defrag              Defrag            `json:"defrag,omitzero" yaml:"defrag,omitempty"`
}

// Backup is reserved for scheduled backups; it has no settings yet.
type Backup struct{}

// The ports of a member. They are fixed: one cluster per address.
const (
	ClientPort     = 2379
	PeerPort       = 2380
	MetricsPort    = 2381 // plain HTTP, loopback only
	ClientHTTPPort = 2382 // the HTTP half of the client API, loopback only
)

// Names etcd and CKE give a meaning of their own; no tenant may take them.
const (
	RootUser      = "root"
	APIServerUser = "kube-apiserver"
	APIServerPath = "/registry/"
)

// User is an etcd user with the one prefix it may read and write.
type User struct {
	Name   string `json:"name"`
	Prefix string `json:"prefix"`
}
