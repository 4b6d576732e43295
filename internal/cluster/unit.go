package cluster

import (
	"net/netip"
	"reflect"

	"cke/internal/units"
)

// Unit is everything a host needs to know to run one member. It carries names
// and values, never paths or command lines: the host's helper derives those
// itself, so that the channel to it cannot be used for anything else.
type Unit struct {
	Cluster string     `json:"cluster"`
	Node    NodeName   `json:"node"`
	Member  MemberID   `json:"member"` // also the data directory's name
	Address netip.Addr `json:"address"`
	Version string     `json:"version"`
	Quota   units.Size `json:"quota"`
	// Retention is how much history etcd keeps; 0 is five minutes.
	Retention units.Duration `json:"retention,omitzero"`
	// Founding is set only for a first start: how to enter the cluster. A sealed
	// member has none and can only be started on its own data.
	Founding  *Founding         `json:"founding,omitempty"`
	ExtraArgs map[string]string `json:"extra_args,omitempty"`
	ExtraEnv  map[string]string `json:"extra_env,omitempty"`
}

// Founding is how a member enters a cluster on its first start.
type Founding struct {
	// New: found a new cluster with exactly Peers. Otherwise join an existing one.
	New   bool   `json:"new"`
	Token string `json:"token"`
	// Peers maps every member's name to its peer URL, this one included.
	Peers map[NodeName]string `json:"peers"`
}

// Equal compares two units by value; nil and empty maps are the same.
func (u Unit) Equal(v Unit) bool { return reflect.DeepEqual(u.normal(), v.normal()) }

func (u Unit) normal() Unit {
	if len(u.ExtraArgs) == 0 {
		u.ExtraArgs = nil
	}
	if len(u.ExtraEnv) == 0 {
		u.ExtraEnv = nil
	}
	return u
}
