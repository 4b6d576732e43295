package sim

import (
	"context"
	"net/netip"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// Preflight implements host.Host.
func (h channel) Preflight(ctx context.Context, _ string, _ netip.Addr) (a cluster.Machine, err error) {
	return a, h.call(ctx, "preflight", func() error {
		m := h.m
		a = cluster.Machine{
			Clock: time.Now().Add(m.skew), Took: 0, Own: true, Runs: m.proc != nil, Free: 100 << 30,
			Fsync: cluster.Fsync{Count: 100, P50: time.Millisecond, P99: 2 * time.Millisecond, Max: 5 * time.Millisecond}, Runtime: cluster.RuntimeProcess,
			Kernel: "6.1", OpenFiles: 1 << 20, Memory: 8 << 30,
		}
		if m.full {
			a.Free = 0
		}
		if m.slowDisk {
			a.Fsync.P99 = time.Second
		}
		if m.portBusy && m.proc == nil {
			a.BusyPorts = []int{cluster.ClientPort}
		}
		return nil
	})
}

// ReachPeers implements host.Host.
func (h channel) ReachPeers(ctx context.Context, req host.ReachPeers) (all []cluster.Reach, err error) {
	return all, h.call(ctx, "reach peers", func() error {
		for _, p := range req.Peers {
			for _, port := range []uint16{cluster.ClientPort, cluster.PeerPort} {
				r := cluster.Reach{Peer: p.Address, Port: port, Took: time.Millisecond, Source: h.m.node.Address}
				o := h.m.w.byClientURL(cluster.URL(p.Address, cluster.ClientPort))
				switch {
				case o == nil || o.away || o.down || o.isolated || h.m.isolated || h.m.apart(o) || o.mistimed() && len(p.Greets) == 0:
					r.Err = "i/o timeout"
				case o.proc == nil && len(p.Greets) == 0:
					r.Err, r.Refused = "connection refused", true
				}
				all = append(all, r)
			}
		}
		return nil
	})
}

// AnswerPeers implements host.Host.
func (h channel) AnswerPeers(ctx context.Context, _ host.AnswerPeers, listening func(host.Answering)) error {
	var a host.Answering
	err := h.call(ctx, "answer peers", func() error {
		if h.m.unit != nil {
			return refuse(host.InUse, "a unit is installed")
		}
		if !h.m.portBusy {
			a.Ports = []uint16{cluster.ClientPort, cluster.PeerPort}
		}
		return nil
	})
	if err != nil {
		return err
	}
	listening(a)
	<-ctx.Done()
	h.c.turn(ctx, "answer peers on "+string(h.m.name()))
	return nil
}
