package api

import (
	"context"
	"net/http"

	"cke/internal/cluster"
	"cke/internal/units"
)

// DefragAsked is a member that will be defragmented.
type DefragAsked struct {
	Node  cluster.NodeName `json:"node"`
	Bytes int64            `json:"bytes"` // its database
	Free  int64            `json:"free"`  // of it, which it gives back
	// Stall is for how long it is expected to answer nobody.
	Stall units.Duration `json:"stall"`
	// Interrupts: the whole cluster stands still meanwhile.
	Interrupts bool `json:"interrupts,omitempty"`
}

type defragInput struct {
	ClusterPath
	Node string `query:"node" doc:"a node; left out: every member that serves"`
}

func (s *server) defragOperation() {
	call(s, s.operation(http.MethodPost, "/clusters/{cluster}/defrag", "ask-defrag", "Ask for members to be defragmented, one after another"),
		func(ctx context.Context, in *defragInput) ([]DefragAsked, error) {
			list, err := s.backend.AskDefrag(ctx, in.Cluster, in.Node)
			return orEmpty(list), err
		})
}

// AskDefrag asks for a node's member to be defragmented, or every one.
func (c *Client) AskDefrag(ctx context.Context, name, node string) ([]DefragAsked, error) {
	var out []DefragAsked
	r := request{method: http.MethodPost, path: on(name, "defrag")}
	if node != "" {
		r.query = map[string][]string{"node": {node}}
	}
	err := c.callJSON(ctx, r, nil, &out)
	return out, err
}
