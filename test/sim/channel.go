package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// channel is how one daemon reaches one machine's helper, which acts as
// internal/host/agent does.
type channel struct {
	host.Host // what no step asks for
	c         *CKE
	m         *machine
}

var errRefused = errors.New("connection refused")

const (
	answerLeast = time.Millisecond
	answerMost  = 6 * time.Millisecond
)

// call carries one question to the machine and its answer back.
func (h channel) call(ctx context.Context, verb string, do func() error) error {
	m, w := h.m, h.m.w
	what := verb + " on " + string(m.name())
	if err := h.c.enter(ctx, what); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	w.mu.Lock()
	takes, helper := w.between(what, answerLeast, answerMost)+m.slow, m.helper
	sent := time.Now()
	deaf := m.down || m.away || m.afar || helper == silent
	w.mu.Unlock()
	if deaf {
		takes = time.Hour
	}
	there := takes / 2 // and as long back
	if err := h.c.sleep(ctx, there, what); err != nil {
		if thaw := h.c.thaw(ctx, what); thaw != nil {
			err = thaw
		}
		return fmt.Errorf("%s: %w", verb, err)
	}
	w.mu.Lock()
	w.advance()
	var err error
	switch {
	case h.c.dead:
		err = errKilled
	case m.helper == refuses:
		err = errRefused
	case !m.hears():
		deaf = true
	default:
		h.c.sent = sent
		err = do()
	}
	w.mu.Unlock()
	switch {
	case deaf:
		<-ctx.Done()
		h.c.turn(ctx, what)
		err = ctx.Err()
	case !errors.Is(err, errKilled):
		if lost := h.c.sleep(ctx, takes-there, what); lost != nil {
			err = lost
		}
	}
	if thaw := h.c.thaw(ctx, what); thaw != nil {
		err = thaw
	}
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

// mutate is a call that changes something: one at a time, and only from whom the
// machine obeys.
func (h channel) mutate(ctx context.Context, verb string, do func() error) error {
	return h.alone(ctx, verb, func() error { return h.act(verb, do) })
}

// alone is such a call with several effects.
func (h channel) alone(ctx context.Context, verb string, acts func() error) error {
	select {
	case h.m.lock <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", verb, ctx.Err())
	}
	defer func() { <-h.m.lock }()
	err := h.call(ctx, verb, acts)
	if ctx.Err() != nil {
		h.m.w.mu.Lock()
		h.m.struck = time.Now() // until now a step has waited there, and others for it
		h.m.w.mu.Unlock()
	}
	return err
}

// act is one effect on the machine.
func (h channel) act(verb string, do func() error) error {
	return h.c.effect(verb+" on "+string(h.m.name()), func() error {
		if err := h.m.admit(h.c.identity()); err != nil {
			return err
		}
		return do()
	})
}

// admit is the machine's fence.
func (m *machine) admit(id host.Identity) error {
	switch {
	case m.obeys.StoreID != "" && m.obeys.StoreID != id.StoreID:
		return &host.FencedError{OtherStore: true, Reason: "the machine belongs to store " + m.obeys.StoreID}
	case m.obeys.StoreID != "" && id.Epoch < m.obeys.Epoch:
		return &host.FencedError{Reason: fmt.Sprintf("the machine has seen leader epoch %d, the caller's is %d", m.obeys.Epoch, id.Epoch)}
	}
	m.obeys = id
	return nil
}

func refuse(k host.GuardKind, reason string) error { return &host.GuardError{Kind: k, Reason: reason} }

// Facts implements host.Host.
func (h channel) Facts(ctx context.Context, _ string, _ netip.Addr) (f host.Facts, err error) {
	var at time.Time
	err = h.call(ctx, "facts", func() error { f, at = h.m.facts(), h.m.w.raft.at; return nil })
	if err == nil {
		h.c.hears(h.m, at, f)
	}
	return f, err
}

func (m *machine) facts() host.Facts {
	f := host.Facts{
		Versions: slices.Clone(m.versions), Public: m.files.public, KeyFits: m.files.fits, StoreID: m.obeys.StoreID, Epoch: m.obeys.Epoch,
		Free: 100 << 30, Helper: "sim", Hostname: string(m.name()), Runtime: string(m.runtime()), Boot: m.bootName(), Arch: "amd64", Aside: slices.Clone(m.aside),
	}
	f.Gateway = m.gatewayState()
	if m.full {
		f.Free = 0
	}
	if m.portBusy && m.proc == nil {
		f.BusyPorts = []int{cluster.ClientPort}
	}
	if !m.unmounted {
		for _, id := range sortedIDs(m.dirs) {
			f.Data = append(f.Data, cluster.DataDir{Member: id, WAL: true, Mark: m.dirs[id].mark, Bytes: 20 << 20})
		}
	}
	if m.unit == nil {
		return f
	}
	id := m.unit.Member
	sealed, known := m.seals[id]
	f.Unit = &cluster.UnitState{Unit: *m.unit, Sealed: sealed, Running: m.running(id), Exit: m.exit}
	if m.last.Member == id && m.last.SameSettings(*m.unit) {
		f.Unit.Restarts = m.again
	}
	if f.Unit.Unfinished = m.halfInstalled(); f.Unit.Unfinished {
		m.w.marks[halfInstalled]++
	}
	if f.Unit.Running {
		u := m.proc.unit
		f.Unit.Started, f.Unit.Exit = &u, ""
	}
	switch {
	case known && m.unmounted:
		f.Unit.NotMounted = "/var/lib/cke"
	case sealed:
		f.Unit.DataLost = !m.hasData(id)
	}
	return f
}

// Progress implements host.Host.
func (h channel) Progress(ctx context.Context, _ string, id cluster.MemberID) (n uint64, err error) {
	return n, h.call(ctx, "ask how far it is", func() error {
		if m := h.m; m.running(id) && m.connected(m.w.raft.at) && m.w.lead() != nil {
			n = m.proc.index
		}
		return nil
	})
}

// Sends implements host.Host.
func (h channel) Sends(ctx context.Context, _ string, id, peer cluster.MemberID) (sends bool, err error) {
	return sends, h.call(ctx, "ask what it sends", func() error {
		w := h.m.w
		sends = h.m.running(id)
		if p, ok := w.raft.agreed.find(peer); ok {
			to := w.byPeerURL(p.url)
			sends = sends && (to == nil || !to.clogs(w.raft.at))
		}
		return nil
	})
}

// PutFiles implements host.Host.
func (h channel) PutFiles(ctx context.Context, req host.PutFiles) error {
	return h.mutate(ctx, "put files", func() error { h.m.files = newFiles(req.Files); return nil })
}

// ReleaseOffset implements host.Host.
func (h channel) ReleaseOffset(ctx context.Context, r host.Release) (s host.ReleaseState, err error) {
	return s, h.call(ctx, "ask for etcd", func() error {
		s.Installed = slices.Contains(h.m.versions, r.Version)
		return nil
	})
}

// PutRelease implements host.Host.
func (h channel) PutRelease(ctx context.Context, r host.Release, _ int64, packed io.Reader) error {
	if _, err := io.Copy(io.Discard, packed); err != nil {
		return err
	}
	return h.mutate(ctx, "put etcd "+r.Version, func() error {
		if !slices.Contains(h.m.versions, r.Version) {
			h.m.versions = append(h.m.versions, r.Version)
		}
		return nil
	})
}

// Clean implements host.Host.
func (h channel) Clean(ctx context.Context, _ string) error {
	return h.mutate(ctx, "clean", func() error {
		if h.m.unit != nil || len(h.m.dirs) > 0 {
			h.m.w.judgeClean(h.c, h.m)
			return refuse(host.InUse, "a unit or data is in place")
		}
		h.m.files = newFiles(nil)
		return nil
	})
}

// WaitUnit implements host.Host.
func (h channel) WaitUnit(ctx context.Context, _ string, running bool) error {
	if err := h.call(ctx, "wait for its end", func() error { return nil }); err != nil {
		return err
	}
	for {
		h.m.w.mu.Lock()
		u, ended, hears := h.m.unit, h.m.ended, h.m.hears()
		is := u != nil && h.m.running(u.Member)
		h.m.w.mu.Unlock()
		if !hears {
			return errors.New("the session ended")
		}
		if is != running {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
		}
		if h.c.turn(ctx, "hear of its end on "+string(h.m.name())); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// Claim implements host.Host.
func (h channel) Claim(ctx context.Context) error {
	return h.call(ctx, "claim", func() error { h.m.obeys = h.c.identity(); return nil })
}

// Close implements host.Host.
func (channel) Close() error { return nil }
