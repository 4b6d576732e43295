package api

import "cke/internal/cluster"

// DrainRequest asks for maintenance of a node.
type DrainRequest struct {
	Why       string `json:"why,omitempty"`
	Interrupt bool   `json:"interrupt,omitempty" doc:"of one or two voters none can be spared: accept that nobody is served meanwhile"`
}

// RebootRequest asks for a reboot of machines, one after another.
type RebootRequest struct {
	Nodes     []string `json:"nodes" minItems:"1" doc:"hostnames or addresses, in this order"`
	Why       string   `json:"why,omitempty"`
	Interrupt bool     `json:"interrupt,omitempty" doc:"of one or two voters none can be spared: accept that nobody is served meanwhile"`
}

// DrainAnswer is the node that is drained, or was.
type DrainAnswer struct {
	Node cluster.NodeName `json:"node"`
}
