package cluster

import (
	"slices"
	"time"

	"cke/internal/units"
)

// What a spec means where it says nothing.
const (
	DefaultClusterDomain                = "cluster.local"
	DefaultVersion                      = "3.7.3"
	DefaultReplaceAfter  units.Duration = units.Duration(5 * time.Minute)
	DefaultQuota         units.Size     = 8 << 30
	// DefaultRetention is how much history members keep.
	DefaultRetention units.Duration = units.Duration(5 * time.Minute)
	// DefaultMaxClockSkew is what etcd itself complains beyond.
	DefaultMaxClockSkew = units.Duration(time.Second)
	// DefaultMaxFsync is a heartbeat interval: on a slower disk a leader misses its own.
	DefaultMaxFsync     = units.Duration(100 * time.Millisecond)
	DefaultMinOpenFiles = 4096
)

// WithDefaults returns the spec with everything left out filled in, and
// IPv4-mapped addresses as the IPv4 addresses they are. Etcd.Members stays 0,
// which means all control-plane nodes, also those still to come: ask
// WantedVoters. The receiver is not changed.
func (s Spec) WithDefaults() Spec {
	if s.ClusterDomain == "" {
		s.ClusterDomain = DefaultClusterDomain
	}
	if s.Etcd.Version == "" {
		s.Etcd.Version = DefaultVersion
	}
	if s.Etcd.ReplaceAfter == 0 {
		s.Etcd.ReplaceAfter = DefaultReplaceAfter
	}
	if s.Etcd.Quota == 0 {
		s.Etcd.Quota = DefaultQuota
	}
	if s.Etcd.CompactionRetention == 0 {
		s.Etcd.CompactionRetention = DefaultRetention
	}
	s.Etcd.Defrag = s.Etcd.Defrag.withDefaults()
	s.Kubernetes = s.Kubernetes.withDefaults()
	s.Preflight = s.Preflight.withDefaults()
	s.Nodes = slices.Clone(s.Nodes)
	for i := range s.Nodes {
		s.Nodes[i].Address = s.Nodes[i].Address.Unmap()
	}
	return s
}
