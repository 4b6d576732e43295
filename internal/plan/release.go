package plan

import (
	"fmt"
	"slices"
	"strings"

	"cke/internal/cluster"
)

// needVersion adds to a verdict what gets a missing etcd onto a host: a step
// where cke can hand the binary out, and else the reason why a person must.
func (in input) needVersion(v *verdict, n cluster.Node, version string) {
	arch := in.node(n.Hostname).Arch
	if !n.Remote() || !slices.Contains(in.st.Releases, cluster.Release{Version: version, Arch: arch}) {
		v.reasons = append(v.reasons, versionMissing(in, n, version))
		return
	}
	v.steps = append(v.steps, installEtcd(version, []cluster.NodeName{n.Hostname}))
}

func installEtcd(version string, nodes []cluster.NodeName) Step {
	return Step{
		Kind: InstallEtcd, Nodes: nodes, Version: version,
		Reason: fmt.Sprintf("etcd %s is not installed on the host", version),
	}
}

// mergeInstalls makes one step of those that install the same version, so that
// it goes to all nodes at once, whichever rule found it missing.
func mergeInstalls(steps []Step, s Step) []Step {
	for i, have := range steps {
		if have.Kind != InstallEtcd || have.Version != s.Version {
			continue
		}
		nodes := slices.Clone(have.Nodes)
		for _, n := range s.Nodes {
			if !slices.Contains(nodes, n) {
				nodes = append(nodes, n)
			}
		}
		steps[i].Nodes = nodes
		if len(nodes) > 1 {
			steps[i].Reason = fmt.Sprintf("etcd %s is not installed on these hosts", s.Version)
		}
		return steps
	}
	return append(steps, s)
}

func hasVersion(ns cluster.NodeState, version string) bool {
	return slices.Contains(ns.Versions, version)
}

// versionMissing says where the binary has to go: the nodes on this machine run
// what lies in cke's own releases directory, the others get it from there.
func versionMissing(in input, n cluster.Node, version string) Reason {
	ns := in.node(n.Hostname)
	r := Reason{Level: Blocked, Rule: "versionMustBeInstalled", Node: n.Hostname}
	have := "none"
	if len(ns.Versions) > 0 {
		have = strings.Join(ns.Versions, ", ")
	}
	r.Text = fmt.Sprintf("etcd %s is not installed on the host (installed: %s)", version, have)
	r.Hint = "put etcd into the releases directory, as v" + version + "/etcd"
	if n.Remote() && ns.Arch != "" {
		r.Text = fmt.Sprintf("etcd %s is not installed on the host (installed: %s), and cke has none for %s", version, have, ns.Arch)
		r.Hint = fmt.Sprintf("put it into the releases directory of cke, as v%s/etcd-linux-%s", version, ns.Arch)
	}
	return r
}
