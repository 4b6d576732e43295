// Package api is CKE's HTTP API: its types, its server and its client.
package api

import (
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/units"
)

// Problem is the body of every answer that is not a success (RFC 9457 fields
// plus CKE's own). Code decides the CLI's exit code.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
	// Code is "refused" (blocked by a rule), "invalid" (bad input), "not-found",
	// "not-leader" or "failed".
	Code string `json:"code"`
	// Leader is where the daemon that leads is reached, with "not-leader" and
	// where it is known.
	Leader string `json:"leader,omitempty"`
}

// Certificate is an issued client certificate, PEM in strings.
type Certificate struct {
	CACertificate string `json:"ca_certificate"`
	Certificate   string `json:"certificate"`
	PrivateKey    string `json:"private_key"`
}

// ClusterSummary is one line of `ckecli cluster list`.
type ClusterSummary struct {
	Name    string        `json:"name"`
	Phase   cluster.Phase `json:"phase"`
	Healthy bool          `json:"healthy"`
	Voters  int           `json:"voters"`
	Nodes   int           `json:"nodes"`
}

// Status is everything known about one cluster now.
type Status struct {
	Cluster string `json:"cluster"`
	// Healthy: bootstrapped, every wanted member is a healthy voter and auth is on.
	Healthy bool `json:"healthy"`
	// Settled: healthy and nothing to do, waited for or blocked, for the spec as it is now.
	Settled   bool              `json:"settled"`
	Phase     cluster.Phase     `json:"phase"`
	ClusterID cluster.ClusterID `json:"cluster_id,omitzero"`
	Paused    *cluster.Pause    `json:"paused,omitempty"`
	// Drains are the nodes under maintenance, and those that come back from it.
	Drains []cluster.Drain `json:"drains,omitempty"`
	// Reboot is which machines are being rebooted.
	Reboot    *cluster.Reboot `json:"reboot,omitempty"`
	Quorum    bool            `json:"quorum"`
	Tolerance int             `json:"tolerance"` // voters that may fail now; negative: quorum lost
	AuthOn    bool            `json:"auth_on"`
	// Quota is how much of its quota the fullest member uses.
	Quota *plan.QuotaUse `json:"quota,omitempty"`
	// Alarms are those etcd has raised.
	Alarms []cluster.Alarm `json:"alarms,omitempty"`
	// Strangers are members on no node of the spec or leaving.
	Strangers []cluster.Member `json:"strangers,omitempty"`
	Nodes     []NodeStatus     `json:"nodes"`
	// Left are nodes whose member is out and that were not cleaned; nothing looks
	// at them any more.
	Left []NodeStatus `json:"left,omitempty"`
	Plan plan.Plan    `json:"plan"`
	// Progress is how far long steps are that run now.
	Progress []cluster.Progress `json:"progress,omitempty"`
	// Running are the steps under way; the plan holds those that come next.
	Running []plan.Step `json:"running,omitempty"`
	// Snapshot is the last one taken before a change of etcd's version, and where it lies.
	Snapshot *cluster.Snapshot `json:"snapshot,omitempty"`
	// Kubernetes is what Kubernetes is told; nil when the spec names none.
	Kubernetes *KubernetesStatus `json:"kubernetes,omitempty"`
	ObservedAt time.Time         `json:"observed_at"`
	// SpecRevision is the spec that was last planned for; Settled speaks of it.
	SpecRevision int64 `json:"spec_revision"`
}

// KubernetesStatus is what Kubernetes is told of a cluster, and how that goes.
type KubernetesStatus struct {
	// Endpoints is what it is to be told now.
	Endpoints []cluster.Endpoint `json:"endpoints"`
	// Conditions speak of the endpoints and of each Secret; first those that are
	// not as they should be.
	Conditions []cluster.Condition `json:"conditions"`
}

// NodeStatus is one node and the member on it, if any.
type NodeStatus struct {
	Hostname     cluster.NodeName `json:"hostname"`
	Address      string           `json:"address"`
	ControlPlane bool             `json:"control_plane"`
	Leaving      bool             `json:"leaving"`
	Left         bool             `json:"left,omitempty"`
	Reachable    bool             `json:"reachable"`
	// Boot tells this boot of the machine from all others, as its host last said.
	Boot  string `json:"boot,omitempty"`
	Error string `json:"error,omitempty"`
	// Trouble is why it is not reachable, where a person can do something about
	// it, and Hint what.
	Trouble   cluster.Trouble `json:"trouble,omitempty"`
	Hint      string          `json:"hint,omitempty"`
	Transport string          `json:"transport"` // "local" or "ssh"
	// Login is user@address:port of a host over SSH.
	Login  string          `json:"login,omitempty"`
	Member *cluster.Member `json:"member,omitempty"`
	// Gateway is the machine's gateway, if it has one.
	Gateway *cluster.GatewayState `json:"gateway,omitempty"`
}

// Leader says which daemon acts.
type Leader struct {
	StoreID  string    `json:"store_id"`
	Epoch    int64     `json:"epoch"`
	Hostname string    `json:"hostname"`
	PID      int       `json:"pid"`
	Since    time.Time `json:"since"`
	Version  string    `json:"version"`
	// Server is where its API is reached from other machines.
	Server string `json:"server,omitempty"`
	// Self: it is the daemon that was asked.
	Self bool `json:"self"`
}

// SpecAnswer is the wanted spec and its revision in the store.
type SpecAnswer struct {
	Revision int64        `json:"revision"`
	Spec     cluster.Spec `json:"spec"`
}

// Version is the daemon's own.
type Version struct {
	Version string `json:"version"`
}

// IssueRequest asks for a client certificate. Without TTL it lives DefaultTTL.
type IssueRequest struct {
	User string          `json:"user" minLength:"1"`
	TTL  *units.Duration `json:"ttl,omitempty" doc:"such as 24h, 30d or 10y; default 10y" example:"24h"`
}

// DefaultTTL is how long a user's certificate lives unless asked otherwise.
const DefaultTTL = 87600 * time.Hour

// UserChange is what adding a user did.
type UserChange struct {
	Created bool `json:"created"`
}

// PauseRequest says why the loop is to be held back.
type PauseRequest struct {
	Why string `json:"why,omitempty"`
}

// TrustRequest names a host and the fingerprint of its key.
type TrustRequest struct {
	Address     string `json:"address" minLength:"1"`
	Fingerprint string `json:"fingerprint,omitempty" doc:"SHA256:… as ssh-keygen -l prints it"`
}

// TrustedKey is the SSH host key that is trusted for a node now.
type TrustedKey struct {
	Node        cluster.NodeName `json:"node"`
	Address     string           `json:"address"` // with sshd's port
	Type        string           `json:"type"`    // ED25519, ECDSA or RSA
	Fingerprint string           `json:"fingerprint"`
}

// CleanRequest says how a node is cleaned.
type CleanRequest struct {
	Forget bool `json:"forget,omitempty" doc:"only drop the record of a node whose machine is gone"`
}
