package cluster

import (
	"slices"
	"time"
)

// Reboot is a request to reboot machines one after another, and how far it is. It
// outlives the daemon that took it.
type Reboot struct {
	Nodes []NodeName `json:"nodes"`
	By    string     `json:"by"`
	Why   string     `json:"why,omitempty"`
	At    time.Time  `json:"at"`
	// Interrupt is as for a drain.
	Interrupt bool `json:"interrupt,omitempty"`
	// Done are those whose turn is over.
	Done []NodeName `json:"done,omitempty"`
	// Skipped are those of Done whose turn ended without a reboot.
	Skipped []NodeName `json:"skipped,omitempty"`
	// Boot is the boot of the machine whose turn it is as it was before it was told
	// to reboot, at Told; empty before.
	Boot string    `json:"boot,omitempty"`
	Told time.Time `json:"told,omitzero"`
	// First is when it was told first, if it did not go then; zero: at Told.
	First time.Time `json:"first,omitzero"`
	// Epoch is that of the leader that wrote this down, and was about to tell it.
	Epoch int64 `json:"epoch,omitempty"`
}

// Next is the node whose turn it is; false when all are done.
func (r Reboot) Next() (NodeName, bool) {
	for _, n := range r.Nodes {
		if !slices.Contains(r.Done, n) {
			return n, true
		}
	}
	return "", false
}

// Ends says that this boot of a machine was told to end.
func (r Reboot) Ends(boot string) bool { return r.Boot != "" && r.Boot == boot }

// After is the request once a node's turn is over.
func (r Reboot) After(n NodeName) Reboot {
	r.Done = append(slices.Clone(r.Done), n)
	r.Boot, r.Told, r.First, r.Epoch = "", time.Time{}, time.Time{}, 0
	return r
}

// Without is After for a machine that is not rebooted.
func (r Reboot) Without(n NodeName) Reboot {
	r.Skipped = append(slices.Clone(r.Skipped), n)
	return r
}

// ToldFirst is when the machine whose turn it is was told first.
func (r Reboot) ToldFirst() time.Time {
	if r.First.IsZero() {
		return r.Told
	}
	return r.First
}
