package cluster

// Release names an etcd binary: its version, such as 3.7.3, and the
// architecture it is for, in Go's words.
type Release struct {
	Version string `json:"version"`
	Arch    string `json:"arch"`
}

// Progress is how far some long work on one node is.
type Progress struct {
	Node NodeName `json:"node"`
	What string   `json:"what"` // such as "installing etcd 3.7.3"
	// Done and Total are bytes.
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Remote says whether the node is another machine than CKE's own, with a
// releases directory of its own.
func (n Node) Remote() bool { return n.User != "" }

// SameMachine says whether two nodes are one machine: by address, and where they
// are directories of this machine by name.
func (n Node) SameMachine(o Node) bool {
	return n.Address == o.Address || !n.Remote() && !o.Remote() && n.Hostname == o.Hostname
}
