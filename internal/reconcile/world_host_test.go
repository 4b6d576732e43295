package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// fakeHost is one machine; each of its answers takes `takes`.
type fakeHost struct {
	host.Host // what no test here asks for
	w         *world
	facts     host.Facts
	takes     time.Duration
	deaf      time.Duration // how long it goes on after its caller has given up
	down      error         // nothing answers
	full      error         // what is started ends so
	lies      bool          // it says of a process that runs that it has ended
	unitless  error         // what comes of each unit that is to be installed
	calls     map[string]int
	under     int
	ended     chan struct{} // closed and replaced when the process begins or ends
}

func (h *fakeHost) put(files map[host.FileKind][]byte) {
	for k, b := range files {
		if k == host.ServerKey || k == host.PeerKey {
			h.facts.KeyFits[k] = true
			continue
		}
		h.facts.Public[k] = b
	}
}

// call takes its time and then does its work under the world's lock.
func (h *fakeHost) call(ctx context.Context, verb string, do func() error) error {
	h.w.mu.Lock()
	takes, deaf, down := h.takes, h.deaf, h.down
	h.calls[verb]++
	h.under++
	h.w.mu.Unlock()
	var err error
	select {
	case <-after(takes):
	case <-ctx.Done():
		pass(deaf)
		err = ctx.Err()
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.under--
	if err = errors.Join(down, err); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return do()
}

func (h *fakeHost) running(is bool) {
	u := *h.facts.Unit
	u.Running = is
	if h.facts.Unit = &u; is {
		u.Started = &u.Unit
	}
	close(h.ended)
	h.ended = make(chan struct{})
}

func (h *fakeHost) Facts(ctx context.Context, _ string, _ netip.Addr) (f host.Facts, err error) {
	return f, h.call(ctx, "facts", func() error {
		f = h.facts
		f.Data = slices.Clone(f.Data)
		if f.Unit != nil {
			u := *f.Unit
			f.Unit = &u
		}
		f.KeyFits, f.Public = map[host.FileKind]bool{}, map[host.FileKind][]byte{}
		for k, v := range h.facts.KeyFits {
			f.KeyFits[k] = v
		}
		for k, v := range h.facts.Public {
			f.Public[k] = v
		}
		return nil
	})
}

func (h *fakeHost) Progress(ctx context.Context, _ string, _ cluster.MemberID) (uint64, error) {
	return 0, h.call(ctx, "progress", func() error { return nil })
}

func (h *fakeHost) Sends(ctx context.Context, _ string, _, _ cluster.MemberID) (bool, error) {
	return true, h.call(ctx, "sends", func() error { return nil })
}

func (h *fakeHost) PutFiles(ctx context.Context, req host.PutFiles) error {
	return h.call(ctx, "put-files", func() error { h.put(req.Files); return nil })
}

func (h *fakeHost) InstallUnit(ctx context.Context, u cluster.Unit) error {
	return h.call(ctx, "install-unit", func() error {
		if h.unitless != nil {
			return h.unitless
		}
		us := cluster.UnitState{}
		if h.facts.Unit != nil {
			us = *h.facts.Unit
		}
		us.Unit, us.Unfinished = u, false
		h.facts.Unit = &us
		return nil
	})
}

func (h *fakeHost) StartUnit(ctx context.Context, _ string, id cluster.MemberID) error {
	return h.call(ctx, "start-unit", func() error {
		if h.full != nil {
			return h.full
		}
		h.facts.Unit.Sealed = true
		h.facts.Data = []cluster.DataDir{{Member: id, WAL: true, Mark: true}}
		h.running(true)
		return nil
	})
}

func (h *fakeHost) StopUnit(ctx context.Context, _ host.StopUnit) error {
	return h.call(ctx, "stop-unit", func() error { h.running(false); return nil })
}

func (h *fakeHost) RetireUnit(ctx context.Context, _ string, _ cluster.MemberID) error {
	return h.call(ctx, "retire-unit", func() error { h.facts.Unit, h.facts.Data = nil, nil; return nil })
}

func (h *fakeHost) Clean(ctx context.Context, _ string) error {
	return h.call(ctx, "clean", func() error { return nil })
}

func (h *fakeHost) WaitUnit(ctx context.Context, _ string, running bool) error {
	if err := h.call(ctx, "wait-unit", func() error { return nil }); err != nil {
		return err
	}
	for {
		h.w.mu.Lock()
		is, ended, lies := h.facts.Unit != nil && h.facts.Unit.Running, h.ended, h.lies
		h.w.mu.Unlock()
		if is != running || lies {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *fakeHost) Claim(context.Context) error { return nil }

func (h *fakeHost) Close() error { return nil }
