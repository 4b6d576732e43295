package execute

import (
	"context"
	"errors"
	"slices"
	"strings"

	"cke/internal/cluster"
	"cke/internal/host"
)

// installCertificates issues fresh keys and certificates for each node. Keys
// are made here, sent once and kept nowhere else.
type installCertificates struct{ target }

func (a installCertificates) Done(ctx context.Context) (bool, error) {
	return a.allNodes(ctx, func(_ cluster.Node, ns cluster.NodeState) bool { return len(ns.Certificates) == 0 })
}

func (a installCertificates) Do(ctx context.Context) error {
	return a.eachNode(ctx, func(ctx context.Context, n cluster.Node, h host.Host) error {
		set, err := a.x.o.Authority.MemberSet(a.w.Spec, n, a.x.o.Now())
		if err != nil {
			return err
		}
		return h.PutFiles(ctx, host.PutFiles{Cluster: a.cluster(), Files: map[host.FileKind][]byte{
			host.ServerCert: set.ServerCert, host.ServerKey: set.ServerKey,
			host.PeerCert: set.PeerCert, host.PeerKey: set.PeerKey,
			host.ClientCA: set.ClientCA, host.PeerCA: set.PeerCA, host.ClientCRL: set.CRL,
		}})
	})
}

// installUnits writes the units the step carries. Processes are left alone.
type installUnits struct{ target }

func (a installUnits) wanted(n cluster.NodeName) (cluster.Unit, bool) {
	for _, u := range a.step.Units {
		if u.Node == n {
			return u, true
		}
	}
	return cluster.Unit{}, false
}

func (a installUnits) Done(ctx context.Context) (bool, error) {
	return a.allNodes(ctx, func(n cluster.Node, ns cluster.NodeState) bool {
		u, ok := a.wanted(n.Hostname)
		return ok && ns.Unit != nil && ns.Unit.Unit.Equal(u)
	})
}

func (a installUnits) Do(ctx context.Context) error {
	return a.eachNode(ctx, func(ctx context.Context, n cluster.Node, h host.Host) error {
		u, _ := a.wanted(n.Hostname)
		return h.InstallUnit(ctx, u)
	})
}

// startMembers starts the stopped units, all together but for a founding: there
// the one with the lowest peer URL goes ahead. A founder asks the others, in
// this order and a second each, whether they are founded already (etcd
// etcdserver/cluster_util.go, isMemberBootstrapped); one that listens and does
// not serve yet keeps everybody waiting.
type startMembers struct{ target }

func (a startMembers) Done(ctx context.Context) (bool, error) {
	return a.allNodes(ctx, func(_ cluster.Node, ns cluster.NodeState) bool {
		return ns.Unit != nil && ns.Unit.Running && ns.Unit.Sealed
	})
}

func (a startMembers) Do(ctx context.Context) error {
	first := a.startFirst(ctx)
	return errors.Join(first, a.eachNode(ctx, a.start))
}

func (a startMembers) start(ctx context.Context, n cluster.Node, h host.Host) error {
	f, err := h.Facts(ctx, a.cluster(), n.Address)
	if err != nil {
		return err
	}
	if f.Unit == nil || f.Unit.Running && f.Unit.Sealed {
		return nil
	}
	return h.StartUnit(ctx, a.cluster(), f.Unit.Unit.Member)
}

// startFirst starts the founder everybody asks first, if it is among the nodes.
func (a startMembers) startFirst(ctx context.Context) error {
	if a.w.Bootstrap.Phase != cluster.PhaseBootstrapping {
		return nil
	}
	first := slices.MinFunc(a.w.Bootstrap.Founders, func(x, y cluster.Founder) int {
		return strings.Compare(x.Node.PeerURL(), y.Node.PeerURL())
	}).Node
	if !slices.Contains(a.step.Nodes, first.Hostname) {
		return nil
	}
	h, err := a.host(first)
	if err != nil {
		return err
	}
	if err := a.start(ctx, first, h); err != nil {
		return &NodeError{first.Hostname, err}
	}
	return nil
}
