package app

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/reconcile"
)

func (b backend) EtcdConfig(ctx context.Context, name, node string, gateway bool) (api.EtcdConfig, error) {
	c, err := b.founded(ctx, name)
	if err != nil {
		return api.EtcdConfig{}, err
	}
	v, err := firstView(ctx, c.loop)
	if err != nil {
		return api.EtcdConfig{}, err
	}
	return etcdConfig(v, node, gateway)
}

// etcdConfig is what a kube-apiserver on a node, or on any without one, needs. A
// gateway is chosen where the node has one, or where a person says so: the node an
// API server runs on is not known otherwise, and members can be reached from all.
func etcdConfig(v reconcile.View, which string, gateway bool) (api.EtcdConfig, error) {
	spec := v.Wanted.Spec
	directory := cmp.Or(spec.Kubernetes.APIServer.Directory, cluster.DefaultClientDirectory)
	out := api.EtcdConfig{
		CAFile: path.Join(directory, cluster.ClientCAFile), CertFile: path.Join(directory, cluster.ClientCertFile),
		KeyFile: path.Join(directory, cluster.ClientKeyFile), CompactionInterval: "0",
	}
	nodes := spec.Nodes
	if which != "" {
		i := slices.IndexFunc(nodes, func(n cluster.Node) bool { return string(n.Hostname) == which || n.Address.String() == which })
		if i < 0 {
			return out, api.NotFound(fmt.Sprintf("cluster %s has no node %q", spec.Name, which), "ckecli node list")
		}
		nodes = nodes[i : i+1]
	}
	out.Gateway = gateway || which != "" && nodes[0].Gateway
	out.Warnings = filesWarning(nodes, which != "")
	if !out.Gateway {
		var err error
		out.Endpoints, err = serving(v, &out.Warnings)
		return out, err
	}
	if !slices.ContainsFunc(nodes, func(n cluster.Node) bool { return n.Gateway }) {
		return out, api.Refused(fmt.Sprintf("no gateway runs on %s", cmp.Or(which, "any node")), "set gateway: true on the node in cluster.yml; ckecli cluster set cluster.yml")
	}
	for _, n := range nodes {
		if n.APIServer && !n.Gateway {
			out.Warnings = append(out.Warnings, fmt.Sprintf("node %s has an API server and no gateway: this is not for it", n.Hostname))
		}
	}
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), cmp.Or(spec.Kubernetes.GatewayPort, cluster.DefaultGatewayPort))
	out.Endpoints = []string{"https://" + local.String()}
	return out, nil
}

// filesWarning says where CKE will not put the files that are named.
func filesWarning(nodes []cluster.Node, one bool) []string {
	const hint = "CKE puts no client certificate there; ckecli etcd issue kube-apiserver --output file makes one"
	switch {
	case slices.ContainsFunc(nodes, func(n cluster.Node) bool { return n.APIServer }):
		return nil
	case one:
		return []string{fmt.Sprintf("node %s has no apiserver: true in cluster.yml: %s", nodes[0].Hostname, hint)}
	default:
		return []string{"no node has apiserver: true in cluster.yml: " + hint}
	}
}

// serving are the client URLs of the voters that serve and stay, in the order of
// the nodes; of the others it warns.
func serving(v reconcile.View, warnings *[]string) ([]string, error) {
	var urls []string
	for _, e := range v.Endpoints {
		switch {
		case e.Ready:
			urls = append(urls, "https://"+netip.AddrPortFrom(e.Address, cluster.ClientPort).String())
		case e.Terminating:
			*warnings = append(*warnings, fmt.Sprintf("the member on %s is about to go and is left out", e.Node))
		default:
			*warnings = append(*warnings, fmt.Sprintf("the member on %s does not serve now and is left out", e.Node))
		}
	}
	if len(urls) == 0 {
		return nil, api.Refused("no member serves: "+cmp.Or(v.State.Etcd.Err, "there is no voter"), "ckecli status tells what is wrong")
	}
	return urls, nil
}
