package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"cke/internal/cluster"
)

// kubernetes are the words about what is made for Kubernetes.
func (w *world) kubernetes(word string, args []string) error {
	switch word {
	case "gateway":
		w.gateway(args[0], args[1:])
	case "apiserver":
		w.edit(args[0], func(ns *cluster.NodeState) {
			ns.APIServer, ns.APIServerFails = []string{"apiserver-etcd-client.crt is missing"}, true
			if args[1] == "due" {
				ns.APIServer, ns.APIServerFails = []string{"apiserver-etcd-client.crt expires at 2026-05-01T00:00:00Z (renewed from two thirds of its life)"}, false
			}
		})
	case "published":
		w.st.Published.Wanted = true
		for _, a := range args {
			switch a {
			case "trouble":
				w.st.Published.Trouble = "no answer"
				continue
			case "unknown":
				w.st.Published.Unknown = true
				continue
			}
			addr, err := netip.ParseAddr(a)
			if err != nil {
				return err
			}
			w.st.Published.Ready = append(w.st.Published.Ready, addr)
		}
	case "withdrawn":
		d, err := time.ParseDuration(args[1])
		if err != nil {
			return err
		}
		w.st.WithdrawnSince = map[cluster.MemberID]time.Time{idOf(w.find(cluster.NodeName(args[0]))): w.now.Add(-d)}
	case "parting":
		w.st.Parting = &cluster.Parting{Member: idOf(w.find(cluster.NodeName(args[0]))), Stops: len(args) > 1}
	default:
		return fmt.Errorf("unknown word %q", word)
	}
	return nil
}

func (w *world) gateway(name string, args []string) {
	g := cluster.GatewayState{Running: true, Applied: true, Gateway: cluster.Gateway{Cluster: "main", Port: cluster.DefaultGatewayPort}}
	for _, a := range args {
		switch a {
		case "stopped":
			g.Running, g.Applied, g.Exit = false, false, "exit status 2"
		case "stale":
			g.Applied = false
		case "outdated":
			g.Outdated = true
		case "port":
			g.Gateway.Port++
		default:
			to, restarting := strings.CutPrefix(a, "~")
			to, draining := strings.CutPrefix(to, "-")
			to, busy := strings.CutSuffix(to, "+")
			n := w.find(cluster.NodeName(to))
			if busy {
				g.Connections = map[cluster.NodeName]int{n.Hostname: 3}
			}
			g.Gateway.Upstreams = append(g.Gateway.Upstreams, cluster.Upstream{
				Node: n.Hostname, Address: netip.AddrPortFrom(n.Address, cluster.ClientPort),
				Draining: draining || restarting, Restarting: restarting,
			})
		}
	}
	w.edit(name, func(ns *cluster.NodeState) { ns.Gateway = &g })
}
