package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cke/internal/api"
	"cke/internal/store"
)

// term is a time during which this daemon acts: its loops, its publishers and
// the requests that only a leader answers run within it, and none outlives it.
type term struct {
	tenure *store.Tenure
	ctx    context.Context
	cancel context.CancelCauseFunc
	// work is what has to end before the term has. It is added to under App.mu
	// while the term is the present one.
	work sync.WaitGroup
}

// errNotLeading: there is no term.
var errNotLeading = errors.New("this cke does not lead")

const (
	// againAfter is between two attempts to become the leader.
	againAfter = time.Second
	// unableAfter gives others the lead when this daemon cannot use it.
	unableAfter = 10 * time.Second
)

// leadAlways begins the one term of a daemon with a store of its own.
func (a *App) leadAlways(ctx context.Context) error {
	tenure, err := a.store.Lead(ctx)
	if err != nil {
		return err
	}
	_, err = a.begin(ctx, tenure)
	return err
}

// leadInTurn leads whenever it is this daemon's turn, until the daemon ends.
func (a *App) leadInTurn() {
	said := ""
	for a.ctx.Err() == nil {
		tenure, err := a.store.Lead(a.ctx)
		switch {
		case err == nil:
			said = ""
			if a.leadOnce(tenure) {
				continue
			}
			pause(a.ctx, unableAfter)
		case a.ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			a.log.Warn("cannot stand for the lead; trying again", "err", err, "hint", hintOf(err))
			fallthrough
		default:
			pause(a.ctx, againAfter)
		}
	}
}

// leadOnce serves one term; false when it could not.
func (a *App) leadOnce(tenure *store.Tenure) bool {
	a.log.Info("this cke leads", "store_id", a.store.ID(), "epoch", tenure.Epoch())
	t, err := a.begin(a.ctx, tenure)
	if err == nil {
		<-t.ctx.Done()
		a.log.Info("this cke leads no more", "epoch", tenure.Epoch(), "why", context.Cause(t.ctx))
	} else if a.ctx.Err() == nil {
		a.log.Error("begin to lead", "err", err, "hint", hintOf(err))
	}
	if endErr := a.end(context.WithoutCancel(a.ctx)); endErr != nil {
		a.log.Warn("end what this cke led", "err", endErr)
	}
	return err == nil
}

// begin makes this daemon act.
func (a *App) begin(ctx context.Context, tenure *store.Tenure) (*term, error) {
	t := &term{tenure: tenure}
	t.ctx, t.cancel = context.WithCancelCause(a.ctx)
	context.AfterFunc(tenure.Context(), func() { t.cancel(context.Cause(tenure.Context())) })
	a.mu.Lock()
	a.term = t
	a.mu.Unlock()
	if err := a.careForAll(ctx); err != nil {
		return t, err
	}
	t.work.Go(func() { a.followStore(t) })
	return t, nil
}

// end ends the term, if there is one, and whatever runs in it, and then lets
// another daemon lead.
func (a *App) end(ctx context.Context) error {
	a.mu.Lock()
	t := a.term
	a.term = nil
	cares := a.cares
	a.cares = map[string]*care{}
	a.mu.Unlock()
	if t == nil {
		return nil
	}
	t.cancel(errNotLeading)
	t.work.Wait()
	var errs []error
	for _, c := range cares {
		errs = append(errs, c.close())
	}
	if a.store.Shared() {
		// Whoever leads next may change the hosts.
		errs = append(errs, a.hosts.forget())
	}
	return errors.Join(append(errs, a.store.Resign(ctx, t.tenure))...)
}

// lead lets a request in that only the leader answers, and ends it with the term.
func (a *App) lead(ctx context.Context) (context.Context, func(), error) {
	t, err := a.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.ctx, func() { cancel(api.ErrLeadLost) })
	return ctx, func() {
		stop()
		cancel(nil)
		t.work.Done()
	}, nil
}

const (
	// termPatience is how long a request waits for a term that the store says is this
	// daemon's and that is not begun yet, so that who asks right after a start or a
	// hand-over is not sent away.
	termPatience = 5 * time.Second
	// termLook is between two looks for it.
	termLook = 50 * time.Millisecond
)

// enter adds a request to the work of the present term. The error is NotLeader's.
func (a *App) enter(ctx context.Context) (*term, error) {
	waited, cancel := context.WithTimeout(ctx, termPatience)
	defer cancel()
	for {
		a.mu.Lock()
		t := a.term
		if t != nil && t.ctx.Err() == nil {
			t.work.Add(1)
			a.mu.Unlock()
			return t, nil
		}
		a.mu.Unlock()
		err := a.whoLeads(ctx)
		if !errors.Is(err, errBetweenTerms) || waited.Err() != nil {
			return nil, refused(err)
		}
		pause(waited, termLook)
	}
}

// errBetweenTerms is what a daemon says that is first in line and has no term.
var errBetweenTerms = errors.New("this cke is about to take the lead, or to give it up")

// refused is that in the API's words; any other refusal is in them already.
func refused(err error) error {
	if errors.Is(err, errBetweenTerms) {
		return api.NotLeader(err.Error(), "try again in a moment", "")
	}
	return err
}

// lookPatience bounds the look at who leads, for somebody who waits.
const lookPatience = 2 * time.Second

// notLeading says to whoever asks who leads in this daemon's place.
func (a *App) notLeading(ctx context.Context) error { return refused(a.whoLeads(ctx)) }

// whoLeads is notLeading, or errBetweenTerms.
func (a *App) whoLeads(ctx context.Context) error {
	if a.ctx.Err() != nil {
		return api.NotLeader("this cke is stopping", "start it again, or ask another one", "")
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	l, err := a.store.Leader(ctx)
	switch {
	case err != nil:
		return leaderUnknown(err)
	case l.Candidate == a.self:
		return errBetweenTerms
	case l.Server != "":
		return api.NotLeader(fmt.Sprintf("this cke (%s) does not lead: %s does", a.self.Hostname, l.Hostname),
			fmt.Sprintf("ask that one: ckecli --server %s; or name all, with commas between", l.Server), l.Server)
	default:
		return api.NotLeader(fmt.Sprintf("this cke (%s) does not lead: %s does", a.self.Hostname, l.Hostname),
			fmt.Sprintf("run ckecli on %s, with --server unix://%s", l.Hostname, l.Socket), "")
	}
}

func leaderUnknown(err error) error {
	if errors.Is(err, store.ErrNoLeader) {
		return api.NotLeader(err.Error(), "one takes the lead within 10 s; if none does, look at the logs of cke", "")
	}
	return api.NotLeader(fmt.Sprintf("who leads is not known: the etcd that keeps cke's state does not answer: %v", err),
		"look at that etcd; members of the clusters go on, and so does cke once it is back", "")
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
