package cluster

import "time"

// Drain is the record of a node that is under maintenance: its member is stopped
// and stays so, and it gets none.
type Drain struct {
	Node NodeName  `json:"node"`
	By   string    `json:"by"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at"`
	// Interrupt: whoever asked accepts that of one or two voters none can be
	// spared, and nobody is served meanwhile.
	Interrupt bool `json:"interrupt,omitempty"`
	// Reboot: it is for a reboot, and ends with it.
	Reboot bool `json:"reboot,omitempty"`
	// Ended is when its end was asked for. The record stays until the member is back
	// in sync.
	Ended time.Time `json:"ended,omitzero"`
}

// Over: the member is to run again.
func (d Drain) Over() bool { return !d.Ended.IsZero() }
