package reconcile

import (
	"context"
	"net/netip"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// Preflight finds nothing wrong.
func (h *fakeHost) Preflight(ctx context.Context, _ string, _ netip.Addr) (m cluster.Machine, err error) {
	return m, h.call(ctx, "preflight", func() error {
		m = cluster.Machine{
			Clock: time.Now(), Own: true, Free: 1 << 40, Runtime: cluster.RuntimeProcess, OpenFiles: 1 << 16, Memory: 1 << 34,
			Fsync: cluster.Fsync{Count: 100, P50: time.Millisecond, P99: time.Millisecond, Max: time.Millisecond},
		}
		return nil
	})
}

// ReachPeers connects to everybody.
func (h *fakeHost) ReachPeers(ctx context.Context, req host.ReachPeers) (all []cluster.Reach, err error) {
	return all, h.call(ctx, "reach-peers", func() error {
		for _, p := range req.Peers {
			for _, port := range []uint16{cluster.ClientPort, cluster.PeerPort} {
				all = append(all, cluster.Reach{Peer: p.Address, Port: port, Took: time.Millisecond})
			}
		}
		return nil
	})
}

// AnswerPeers listens until its caller has enough.
func (h *fakeHost) AnswerPeers(ctx context.Context, _ host.AnswerPeers, listening func(host.Answering)) error {
	if err := h.call(ctx, "answer-peers", func() error { return nil }); err != nil {
		return err
	}
	listening(host.Answering{Ports: []uint16{cluster.ClientPort, cluster.PeerPort}})
	<-ctx.Done()
	return ctx.Err()
}
