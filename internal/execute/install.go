package execute

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cke/internal/cluster"
	"cke/internal/host"
)

// installCertificates issues fresh keys and certificates for each node. Keys
// are made here, sent once and kept nowhere else.
type installCertificates struct{ target }

func (a installCertificates) right(_ cluster.Node, ns cluster.NodeState) bool {
	return len(ns.Certificates) == 0
}

func (a installCertificates) work(ctx context.Context, n cluster.Node, h host.Host, _ cluster.NodeState) error {
	set, err := a.x.o.Authority.MemberSet(a.w.Spec, n, a.x.o.Now())
	if err != nil {
		return err
	}
	return h.PutFiles(ctx, host.PutFiles{Cluster: a.cluster(), Files: map[host.FileKind][]byte{
		host.ServerCert: set.ServerCert, host.ServerKey: set.ServerKey,
		host.PeerCert: set.PeerCert, host.PeerKey: set.PeerKey,
		host.ClientCA: set.ClientCA, host.PeerCA: set.PeerCA, host.ClientCRL: set.CRL,
	}})
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

func (a installUnits) right(n cluster.Node, ns cluster.NodeState) bool {
	u, ok := a.wanted(n.Hostname)
	return ok && ns.Unit != nil && ns.Unit.Unit.Equal(u) && !ns.Unit.Unfinished
}

func (a installUnits) work(ctx context.Context, n cluster.Node, h host.Host, _ cluster.NodeState) error {
	u, _ := a.wanted(n.Hostname)
	return h.InstallUnit(ctx, u)
}

// startMembers starts the stopped units, all together but for a founding: there
// the one with the lowest peer URL goes ahead. A founder asks the others, in
// this order and a second each, whether they are founded already (etcd
// etcdserver/cluster_util.go, isMemberBootstrapped); one that listens and does
// not serve yet keeps everybody waiting.
type startMembers struct{ target }

func (a startMembers) right(_ cluster.Node, ns cluster.NodeState) bool {
	return ns.Unit != nil && ns.Unit.Running && ns.Unit.Sealed
}

func (a startMembers) work(ctx context.Context, _ cluster.Node, h host.Host, ns cluster.NodeState) error {
	if ns.Unit == nil {
		return nil // retired meanwhile
	}
	if !ns.Unit.Running && ns.CertificatesBar {
		return fmt.Errorf("start etcd: %s", strings.Join(ns.Certificates, ", "))
	}
	return h.StartUnit(ctx, a.cluster(), ns.Unit.Unit.Member)
}

// ahead is the founder everybody asks first, if it is among the nodes.
func (a startMembers) ahead() []cluster.NodeName {
	if a.w.Bootstrap.Phase != cluster.PhaseBootstrapping {
		return nil
	}
	first := slices.MinFunc(a.w.Bootstrap.Founders, func(x, y cluster.Founder) int {
		return strings.Compare(x.Node.PeerURL(), y.Node.PeerURL())
	}).Node
	if !slices.Contains(a.step.Nodes, first.Hostname) {
		return nil
	}
	return []cluster.NodeName{first.Hostname}
}
