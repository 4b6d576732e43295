package api

import (
	"cke/internal/cluster"
	"cke/internal/units"
)

// UserRemoval is what removing a user did.
type UserRemoval struct {
	// Bundles are the Secrets that go with it, namespace/name.
	Bundles []string `json:"bundles,omitempty"`
}

// EtcdConfig is how a kube-apiserver reaches etcd.
type EtcdConfig struct {
	// Endpoints are the members' client URLs, or the gateway's alone.
	Endpoints []string `json:"endpoints"`
	Gateway   bool     `json:"gateway"`
	CAFile    string   `json:"ca_file"`
	CertFile  string   `json:"cert_file"`
	KeyFile   string   `json:"key_file"`
	// CompactionInterval is "0": etcd compacts itself.
	CompactionInterval string   `json:"compaction_interval"`
	Warnings           []string `json:"warnings,omitempty"`
}

// Subject is who is given access in Kubernetes; at most one is set.
type Subject struct {
	ServiceAccount string `json:"service_account,omitempty"` // namespace/name
	User           string `json:"user,omitempty"`
	Group          string `json:"group,omitempty"`
}

// BundleRequest asks for a Secret of a user's. Without TTL its certificate lives
// cluster.DefaultBundleTTL, without Name it is called after its user.
type BundleRequest struct {
	User      string          `json:"user" minLength:"1"`
	Namespace string          `json:"namespace" minLength:"1"`
	Name      string          `json:"name,omitempty" doc:"default etcd-USER"`
	TTL       *units.Duration `json:"ttl,omitempty" doc:"such as 24h or 30d; default 30d" example:"30d"`
}

// BundleChange is what adding or removing a bundle did.
type BundleChange struct {
	Bundle cluster.Bundle `json:"bundle"`
	// Changed is false when it was so already.
	Changed  bool     `json:"changed"`
	Warnings []string `json:"warnings,omitempty"`
}

// SecretSubjects is what the subjects of all conditions of Secrets begin with.
const SecretSubjects = "secret "

// SecretSubject is a bundle's name among the conditions.
func SecretSubject(b cluster.Bundle) string { return SecretSubjects + b.Key() }
