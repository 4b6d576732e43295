package reconcile

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// kubernetes is told of the endpoints some time after each look; a lag of 0: the
// spec names none.
type kubernetes struct {
	lag   time.Duration
	stuck bool // what it was told last stays
	ready []netip.Addr
}

func (w *world) published() (p cluster.Published) {
	w.do(func() { p = cluster.Published{Wanted: w.kube.lag > 0, Ready: slices.Clone(w.kube.ready)} })
	return p
}

// publish tells it of each view, until ctx ends.
func (w *world) publish(ctx context.Context, l *Loop) {
	for ctx.Err() == nil {
		v, changed := l.View()
		select {
		case <-changed:
			continue
		case <-time.After(w.kube.lag):
		case <-ctx.Done():
			return
		}
		var ready []netip.Addr
		for _, e := range v.Endpoints {
			if e.Ready {
				ready = append(ready, e.Address)
			}
		}
		w.do(func() {
			if !w.kube.stuck && len(ready) > 0 {
				w.kube.ready = ready
			}
		})
		l.Wake()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (h *fakeHost) PutGateway(ctx context.Context, g cluster.Gateway) error {
	return h.call(ctx, "put-gateway", func() error {
		h.facts.Gateway = &cluster.GatewayState{Gateway: g, Running: true, Applied: true}
		return nil
	})
}

func (h *fakeHost) RemoveGateway(ctx context.Context, _ string) error {
	return h.call(ctx, "remove-gateway", func() error { h.facts.Gateway = nil; return nil })
}

func (h *fakeHost) PutClientFiles(ctx context.Context, req host.PutClientFiles) error {
	return h.call(ctx, "put-client-files", func() error {
		h.facts.Client = &host.ClientFacts{Files: req.Files, CA: req.CA, Cert: req.Cert, KeyFits: len(req.Key) > 0}
		return nil
	})
}

// haveGateways has every node ask for a gateway; movedPort is then a step over all
// of them that leaves every member alone.
func (w *world) haveGateways() *world {
	for i := range w.wanted.Spec.Nodes {
		w.wanted.Spec.Nodes[i].Gateway = true
	}
	return w
}

const movedPort = 4000

func (w *world) moveGateways() { w.wanted.Spec.Kubernetes.GatewayPort = movedPort }

func (h *fakeHost) hasMoved() bool {
	return h.facts.Gateway != nil && h.facts.Gateway.Gateway.Port == movedPort
}
