package execute

import (
	"context"
	"fmt"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/plan"
)

// installClientCertificates issues a fresh key and certificate of the API
// server's for each node.
type installClientCertificates struct{ target }

func (a installClientCertificates) right(_ cluster.Node, ns cluster.NodeState) bool {
	return len(ns.APIServer) == 0
}

func (a installClientCertificates) work(ctx context.Context, _ cluster.Node, h host.Host, _ cluster.NodeState) error {
	if p := a.w.Bootstrap.Phase; p != cluster.PhaseBootstrapped {
		return fmt.Errorf("guard %s: the cluster is not founded, authentication may be off (phase %q)", a.step.Kind, p)
	}
	files, err := a.x.o.Authority.APIServerFiles(a.x.o.Now())
	if err != nil {
		return err
	}
	return h.PutClientFiles(ctx, host.PutClientFiles{
		Cluster: a.cluster(), Files: a.w.Spec.Kubernetes.APIServer, CA: files.CA, Cert: files.Cert.CertPEM, Key: files.Cert.KeyPEM,
	})
}

// putGateway gives nodes a gateway with the list that the step carries.
type putGateway struct{ target }

func (a putGateway) right(_ cluster.Node, ns cluster.NodeState) bool {
	return plan.GatewayRight(ns.Gateway, *a.step.Gateway)
}

func (a putGateway) work(ctx context.Context, _ cluster.Node, h host.Host, _ cluster.NodeState) error {
	return h.PutGateway(ctx, *a.step.Gateway)
}

// removeGateway takes nodes their gateway.
type removeGateway struct{ target }

func (a removeGateway) right(_ cluster.Node, ns cluster.NodeState) bool { return ns.Gateway == nil }

func (a removeGateway) work(ctx context.Context, _ cluster.Node, h host.Host, _ cluster.NodeState) error {
	return h.RemoveGateway(ctx, a.cluster())
}
