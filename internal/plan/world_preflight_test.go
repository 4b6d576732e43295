package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"cke/internal/cluster"
)

// measured is a machine that is fit to carry a member.
func measured(n cluster.Node, at time.Time) cluster.Measured {
	return cluster.Measured{At: at, Address: n.Address, Skew: 2 * time.Millisecond, Unsure: time.Millisecond, Machine: cluster.Machine{
		Own: true, Free: 100 << 30, OpenFiles: 1 << 20, Memory: 16 << 30, Kernel: "6.1.0-40-amd64",
		Runtime: cluster.RuntimeSystemd, Systemd: 252,
		Fsync: cluster.Fsync{Count: 100, P50: 400 * time.Microsecond, P99: 1200 * time.Microsecond, Max: 2 * time.Millisecond},
	}}
}

// link is a connection on both ports that works.
func link(n, other cluster.Node, inward bool) []cluster.Link {
	from, to := n, other
	if inward {
		from, to = other, n
	}
	var ls []cluster.Link
	for _, port := range []uint16{cluster.ClientPort, cluster.PeerPort} {
		ls = append(ls, cluster.Link{
			Other: other.Hostname, Inward: inward, Dialer: from.Address, Listens: true,
			Reach: cluster.Reach{Peer: to.Address, Port: port, Took: 300 * time.Microsecond, Source: from.Address},
		})
	}
	return ls
}

// measureAll gives every node that answers and has none a measure it passes.
func (w *world) measureAll() {
	all := append(append([]cluster.Node(nil), w.spec.Nodes...), w.st.Leaving...)
	for _, n := range all {
		ns := w.st.Nodes[n.Hostname]
		if !ns.Reachable() || ns.Measured != nil || slices.Contains(w.unmeasured, n.Hostname) {
			continue
		}
		m := measured(n, w.now.Add(-time.Second))
		for _, o := range all {
			if o.Hostname != n.Hostname {
				m.Links = append(append(m.Links, link(n, o, false)...), link(n, o, true)...)
			}
		}
		ns.Measured = &m
		w.st.Nodes[n.Hostname] = ns
	}
}

// preflight changes what was measured of a node.
func (w *world) preflight(name string, args []string) error {
	m := w.st.Nodes[cluster.NodeName(name)].Measured
	var number int64
	var span time.Duration
	if len(args) > 1 {
		number, _ = strconv.ParseInt(args[1], 10, 64) // or it is a span, or a name
		span, _ = time.ParseDuration(args[1])
	}
	switch args[0] {
	case "none":
		m, w.unmeasured = nil, append(w.unmeasured, cluster.NodeName(name))
	case "age":
		m.At = w.now.Add(-span)
	case "unasked":
		*m = cluster.Measured{At: m.At, Address: m.Address, Err: "preflight: session ended", Hint: "look at it with ckecli node list"}
	case "clock":
		m.Skew = span
	case "free":
		m.Machine.Free = number
	case "fsync":
		m.Machine.Fsync.P99 = span
	case "fsyncerr":
		m.Machine.Fsync, m.Machine.FsyncErr = cluster.Fsync{}, "allocate /var/lib/cke/etcd/.fsync-probe: no space left on device"
	case "foreign":
		m.Machine.Own = false
	case "files":
		m.Machine.OpenFiles = number
	case "memory":
		m.Machine.Memory = number
	case "systemd":
		m.Machine.Systemd = int(number)
	case "source":
		for i := range m.Links {
			if !m.Links[i].Inward {
				m.Links[i].Source = netip.MustParseAddr(args[1])
			}
		}
	case "to", "from":
		breakLinks(m, cluster.NodeName(args[1]), args[0] == "from", args[2])
	default:
		return fmt.Errorf("unknown word %q", args[0])
	}
	w.edit(name, func(ns *cluster.NodeState) { ns.Measured = m })
	return nil
}

func breakLinks(m *cluster.Measured, other cluster.NodeName, inward bool, how string) {
	for i := range m.Links {
		l := &m.Links[i]
		if l.Other != other || l.Inward != inward {
			continue
		}
		switch how {
		case "closed":
			if l.Port == cluster.PeerPort {
				l.Err = "no answer within 2s"
			}
		case "refused": // by a firewall
			l.Err, l.Refused = "connection refused", true
		case "quiet":
			l.Err, l.Refused, l.Listens = "connection refused", true, false
		case "away":
			l.Err, l.Unasked, l.Listens = "", "its host does not answer", false
		}
	}
}
