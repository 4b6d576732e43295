package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cke/internal/cluster"
	"cke/internal/store"
)

// atOnce is how many clusters the store is asked about at the same time: with one
// question after another a daemon of a thousand clusters would stand still at each
// hand-over, with all at once it would ask a thousand.
const atOnce = 8

// eachCluster does something for every cluster the store knows, a few at a time. The
// first error ends it.
func (a *App) eachCluster(ctx context.Context, do func(context.Context, string) error) error {
	names, err := a.store.Clusters(ctx)
	if err != nil {
		return fmt.Errorf("list clusters: %w", err)
	}
	return each(ctx, names, do)
}

func each(ctx context.Context, names []string, do func(context.Context, string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, n := range names {
		g.Go(func() error { return do(ctx, n) })
	}
	return g.Wait()
}

// careForAll begins with the clusters the store knows. One of which it knows too little
// does not keep this daemon from the others.
func (a *App) careForAll(ctx context.Context) error {
	return a.eachCluster(ctx, func(ctx context.Context, name string) error {
		_, err := a.careFor(ctx, name)
		var sick *sickError
		if errors.As(err, &sick) {
			a.log.Error("cannot care for a cluster", "cluster", name, "err", err, "hint", sick.Hint())
			return nil
		}
		return err
	})
}

// careFor returns the care of a cluster, beginning it if need be. Of several that ask
// at the same time one begins it.
func (a *App) careFor(ctx context.Context, name string) (*care, error) {
	for {
		a.mu.Lock()
		c, t, begun := a.cares[name], a.term, a.beginning[name]
		switch {
		case c != nil:
			a.mu.Unlock()
			return c, nil
		case t == nil || t.ctx.Err() != nil:
			a.mu.Unlock()
			return nil, errNotLeading
		case begun == nil:
			begun = make(chan struct{})
			a.beginning[name] = begun
			a.mu.Unlock()
			return a.beginCare(ctx, t, name, begun)
		}
		a.mu.Unlock()
		select {
		case <-begun:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// beginCare makes a cluster's care and sets it going, if the term still lasts by then.
func (a *App) beginCare(ctx context.Context, t *term, name string, begun chan struct{}) (*care, error) {
	c, err := a.newCare(ctx, t, name)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.beginning, name)
	defer close(begun)
	if err != nil {
		return nil, err
	}
	if a.term != t || t.ctx.Err() != nil {
		return nil, errors.Join(errNotLeading, c.close())
	}
	a.cares[name] = c
	t.work.Go(func() { c.loop.Run(t.ctx) })
	t.work.Go(func() { c.export.follow(t.ctx, c.loop) })
	return c, nil
}

// fleet is which machines the clusters have, as far as a term has heard of it.
type fleet struct {
	load func(ctx context.Context, name string) ([]cluster.Node, error)

	nodes map[string][]cluster.Node
	// changed are the clusters to be looked at anew.
	changed map[string]bool
}

// refresh looks at what has changed, and at nothing else, and returns all nodes.
func (f *fleet) refresh(ctx context.Context) ([]cluster.Node, error) {
	var mu sync.Mutex
	err := each(ctx, slices.Collect(maps.Keys(f.changed)), func(ctx context.Context, name string) error {
		nodes, err := f.load(ctx, name)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			return err
		}
		f.nodes[name] = nodes
		delete(f.changed, name)
		return nil
	})
	if err != nil {
		return nil, err // the rest stays to be looked at
	}
	return slices.Concat(slices.Collect(maps.Values(f.nodes))...), nil
}

// nodesOf are a cluster's nodes, those that leave or have left too.
func (a *App) nodesOf(ctx context.Context, name string) ([]cluster.Node, error) {
	w, err := a.store.Load(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // its spec is not written yet
	}
	return slices.Concat(w.Spec.Nodes, w.Leaving, w.Left), err
}

// tidyAfter is how long connections to machines that no cluster names any more stay
// at most: many changes at the same time are looked at once.
const tidyAfter = time.Second

// tidyAgain is when that is tried again after it could not be found out.
const tidyAgain = 30 * time.Second

// followStore wakes a cluster's loop whenever what is wanted of it changes.
func (a *App) followStore(t *term) {
	changes, err := a.store.Watch(t.ctx)
	if err != nil {
		a.storeFails(t, fmt.Errorf("watch the store: %w", err))
		return
	}
	var machines *fleet // not known before the first change
	var tidy <-chan time.Time
	for {
		select {
		case <-t.ctx.Done():
			return
		case name, ok := <-changes:
			if !ok {
				if t.ctx.Err() == nil {
					a.storeFails(t, fmt.Errorf("watch the store: the watch ended: %w", a.store.Err()))
				}
				return
			}
			c, err := a.careFor(t.ctx, name)
			if err != nil {
				// A cluster whose spec is not written yet comes up again with it.
				a.log.Warn("begin to care", "cluster", name, "err", err)
				continue
			}
			if machines != nil {
				machines.changed[name] = true
			}
			if tidy == nil {
				tidy = time.After(tidyAfter)
			}
			c.loop.Wake()
		case <-tidy:
			tidy = nil
			if machines, err = a.keepHosts(t.ctx, machines, a.log); err != nil {
				tidy = time.After(tidyAgain)
			}
		case <-a.store.Done():
			a.storeFails(t, fmt.Errorf("the store ended: %w", a.store.Err()))
			return
		}
	}
}

// keepHosts ends the connections to machines that no cluster names any more, or
// names otherwise.
func (a *App) keepHosts(ctx context.Context, f *fleet, log *slog.Logger) (*fleet, error) {
	if f == nil {
		names, err := a.store.Clusters(ctx)
		if err != nil {
			log.Warn("end connections to hosts that are gone", "err", err)
			return nil, err
		}
		f = &fleet{load: a.nodesOf, nodes: map[string][]cluster.Node{}, changed: map[string]bool{}}
		for _, n := range names {
			f.changed[n] = true
		}
	}
	nodes, err := f.refresh(ctx)
	if err == nil {
		err = a.hosts.remote.Keep(nodes)
	}
	if err != nil && ctx.Err() == nil {
		// A connection too many does no harm.
		log.Warn("end connections to hosts that are gone", "err", err)
	}
	return f, err
}
