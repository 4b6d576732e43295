package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/record"
)

// watchPause is between two attempts to watch a store that refuses.
const watchPause = time.Second

// Watch delivers the name of each cluster whose spec, bootstrap, users, bundles,
// leaving nodes, restart or pause change from now on. Changes that come faster than the receiver
// are one; nothing waits for the receiver. The channel is closed when ctx ends
// or the store does.
func (s *Store) Watch(ctx context.Context) (<-chan string, error) {
	rev, err := s.revision(ctx)
	if err != nil {
		return nil, fmt.Errorf("watch clusters: %w", err)
	}
	out := make(chan string)
	s.watchers.Go(func() {
		defer close(out)
		w := nameWatch{store: s, out: out}
		for next := rev + 1; ctx.Err() == nil && s.Err() == nil; {
			next = w.run(ctx, next)
		}
	})
	return out, nil
}

// revision is the store's newest.
func (s *Store) revision(ctx context.Context) (int64, error) {
	rev, _, err := s.read(ctx, clientv3.OpGet(keyEpoch, clientv3.WithKeysOnly()))
	return rev, err
}

// nameWatch holds the names that the receiver has not taken yet.
type nameWatch struct {
	store   *Store
	out     chan<- string
	pending []string
}

// run watches from revision next until that breaks, and returns where to go on.
func (w *nameWatch) run(ctx context.Context, next int64) int64 {
	ctx, cancel := w.store.bind(ctx)
	defer cancel()
	changes := w.store.client.Watch(clientv3.WithRequireLeader(ctx), allClusters, clientv3.WithPrefix(), clientv3.WithRev(next))
	for {
		var out chan<- string
		var head string
		if len(w.pending) > 0 {
			out, head = w.out, w.pending[0]
		}
		select {
		case out <- head:
			w.pending = w.pending[1:]
		case resp, open := <-changes:
			if !open || resp.Err() != nil {
				return w.resync(ctx, next)
			}
			for _, e := range resp.Events {
				w.add(e.Kv)
			}
			next = resp.Header.Revision + 1
		case <-ctx.Done():
			return next
		}
	}
}

func (w *nameWatch) add(kv *mvccpb.KeyValue) {
	name, kind, ok := splitKey(string(kv.GetKey()))
	if ok && kind != "records" && kind != "ca" && !slices.Contains(w.pending, name) {
		w.pending = append(w.pending, name)
	}
}

// resync names every cluster: what changed in between may have been compacted.
func (w *nameWatch) resync(ctx context.Context, next int64) int64 {
	rev, err := w.store.revision(ctx)
	var names []string
	if err == nil {
		names, err = w.store.Clusters(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			w.store.log.Warn("watch of the store broke", "error", err)
		}
		pauseFor(ctx, watchPause)
		return next
	}
	for _, name := range names {
		if !slices.Contains(w.pending, name) {
			w.pending = append(w.pending, name)
		}
	}
	return rev + 1
}

// WatchRecords delivers the records of a cluster with a Seq above after, in
// order, and from then on each one that is appended or amended. The channel is
// closed when ctx ends or the store does.
func (s *Store) WatchRecords(ctx context.Context, name string, after int64) (<-chan record.Record, error) {
	first, rev, err := s.recordsAfter(ctx, name, after)
	if err != nil {
		return nil, fmt.Errorf("watch records of cluster %q: %w", name, err)
	}
	out := make(chan record.Record)
	s.watchers.Go(func() {
		defer close(out)
		w := recordWatch{store: s, name: name, out: out, last: after}
		if !w.deliver(ctx, first) {
			return
		}
		for next := rev + 1; ctx.Err() == nil && s.Err() == nil; {
			next = w.run(ctx, next)
		}
	})
	return out, nil
}

func (s *Store) recordsAfter(ctx context.Context, name string, after int64) ([]record.Record, int64, error) {
	end := clientv3.GetPrefixRangeEnd(recordKeys(name))
	rev, ranges, err := s.read(ctx, clientv3.OpGet(recordKey(name, after+1), clientv3.WithRange(end)))
	if err != nil {
		return nil, 0, err
	}
	records, err := decodeAll[record.Record](ranges[0])
	return records, rev, err
}

type recordWatch struct {
	store *Store
	name  string
	out   chan<- record.Record
	last  int64 // highest Seq delivered
}

// deliver waits for the receiver; etcd's client buffers behind it.
func (w *recordWatch) deliver(ctx context.Context, records []record.Record) bool {
	for _, r := range records {
		select {
		case w.out <- r:
			w.last = max(w.last, r.Seq)
		case <-ctx.Done():
			return false
		case <-w.store.Done():
			return false
		}
	}
	return true
}

func (w *recordWatch) run(ctx context.Context, next int64) int64 {
	ctx, cancel := w.store.bind(ctx)
	defer cancel()
	changes := w.store.client.Watch(clientv3.WithRequireLeader(ctx), recordKeys(w.name), clientv3.WithPrefix(), clientv3.WithRev(next))
	for resp := range changes {
		if resp.Err() != nil {
			break
		}
		var records []record.Record
		for _, e := range resp.Events {
			if e.Type != clientv3.EventTypePut {
				continue
			}
			r, err := decode[record.Record](e.Kv)
			if err != nil {
				w.store.log.Error("skipping a damaged record", "cluster", w.name, "error", err)
				continue
			}
			records = append(records, r)
		}
		if !w.deliver(ctx, records) {
			return next
		}
		next = resp.Header.Revision + 1
	}
	// What was missed may have been compacted: go on from what is there.
	missed, rev, err := w.store.recordsAfter(ctx, w.name, w.last)
	if err != nil {
		if ctx.Err() == nil {
			w.store.log.Warn("watch of the records broke", "cluster", w.name, "error", err)
		}
		pauseFor(ctx, watchPause)
		return next
	}
	if !w.deliver(ctx, missed) {
		return next
	}
	return rev + 1
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
