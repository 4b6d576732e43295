package api

import (
	"context"
	"io"
	"net/http"

	"cke/internal/cluster"
)

type trustInput struct {
	ClusterPath
	Body TrustRequest
}

// NodePath is the input of every operation on one node, exported for the reason
// of ClusterPath.
type NodePath struct {
	ClusterPath
	Node string `path:"node" doc:"the node's hostname"`
}

type checkInput struct {
	ClusterPath
	Node string `query:"node" doc:"a node's hostname or address; without it, every node that may carry a member"`
}

type cleanInput struct {
	NodePath
	Body CleanRequest
}

type logsInput struct {
	NodePath
	N      int  `query:"n" default:"50" minimum:"0" maximum:"10000" doc:"how many of the last lines"`
	Follow bool `query:"follow" doc:"go on with what comes"`
}

func (s *server) nodeOperations() {
	b := s.backend
	lines(s, s.operation(http.MethodGet, "/clusters/{cluster}/nodes/{node}/logs", "node-logs", "What the members on a node wrote"),
		func(ctx context.Context, in *logsInput) (io.ReadCloser, error) {
			return b.Logs(ctx, in.Cluster, in.Node, in.N, in.Follow)
		})
	call(s, s.operation(http.MethodPost, "/clusters/{cluster}/trust", "trust-host", "Accept a host's SSH key"),
		func(ctx context.Context, in *trustInput) (TrustedKey, error) {
			return b.Trust(ctx, in.Cluster, in.Body.Address, in.Body.Fingerprint)
		})
	nothing(s, s.operation(http.MethodPost, "/clusters/{cluster}/nodes/{node}/claim", "claim-node", "Take a host over from another CKE store"),
		func(ctx context.Context, in *NodePath) error { return b.Claim(ctx, in.Cluster, in.Node) })
	call(s, s.operation(http.MethodPost, "/clusters/{cluster}/nodes/check", "check-nodes", "Measure whether nodes could carry a member, now"),
		func(ctx context.Context, in *checkInput) ([]cluster.NodeCheck, error) {
			list, err := b.CheckNodes(ctx, in.Cluster, in.Node)
			return orEmpty(list), err
		})
	nothing(s, s.operation(http.MethodPost, "/clusters/{cluster}/nodes/{node}/clean", "clean-node", "Remove everything of CKE's from a host without a member"),
		func(ctx context.Context, in *cleanInput) error {
			return b.CleanNode(ctx, in.Cluster, in.Node, in.Body.Forget)
		})
}

func (s *server) daemonOperations() {
	b := s.backend
	call(s, anywhere(s.operation(http.MethodGet, "/leader", "get-leader", "The daemon that acts")),
		func(ctx context.Context, _ *struct{}) (Leader, error) { return b.Leader(ctx) })
	call(s, anywhere(s.operation(http.MethodGet, "/version", "get-version", "The daemon's version")),
		func(context.Context, *struct{}) (Version, error) { return Version{Version: s.options.Version}, nil })
	octets(s, anywhere(s.operation(http.MethodGet, "/state", "backup-state", "CKE's own state as one file, keys sealed")),
		func(ctx context.Context, _ *struct{}, w *octetWriter) error { return b.StateBackup(ctx, w) })
}
