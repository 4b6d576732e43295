package api

import (
	"context"
	"net/http"

	"cke/internal/cluster"
)

type drainInput struct {
	NodePath
	Body DrainRequest
}

type rebootInput struct {
	ClusterPath
	Body RebootRequest
}

func (s *server) maintenanceOperations() {
	b := s.backend
	call(s, s.operation(http.MethodPost, "/clusters/{cluster}/nodes/{node}/drain", "drain-node", "Take a node out of service, until it is undrained"),
		func(ctx context.Context, in *drainInput) (DrainAnswer, error) {
			if err := badWhy(in.Body.Why); err != nil {
				return DrainAnswer{}, err
			}
			return b.DrainNode(ctx, in.Cluster, in.Node, in.Body)
		})
	call(s, s.operation(http.MethodPost, "/clusters/{cluster}/nodes/{node}/undrain", "undrain-node", "Put a drained node into service again"),
		func(ctx context.Context, in *NodePath) (DrainAnswer, error) {
			return b.UndrainNode(ctx, in.Cluster, in.Node)
		})
	call(s, s.operation(http.MethodPut, "/clusters/{cluster}/reboot", "reboot-nodes", "Reboot machines, one after another"),
		func(ctx context.Context, in *rebootInput) (cluster.Reboot, error) {
			if err := badWhy(in.Body.Why); err != nil {
				return cluster.Reboot{}, err
			}
			return b.RebootNodes(ctx, in.Cluster, in.Body)
		})
	nothing(s, s.operation(http.MethodDelete, "/clusters/{cluster}/reboot", "cancel-reboot", "Reboot no more machines"),
		func(ctx context.Context, in *ClusterPath) error { return b.CancelReboot(ctx, in.Cluster) })
}
