package faults

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/test/faults/history"
)

const (
	leaseTTL   = 4 * time.Second
	leasePause = 400 * time.Millisecond // between two calls about a lease
	leaseGone  = 30                     // how many of them a key is waited for that is to go
)

// lease takes leases, one after the other: each gets a key, is kept alive for a
// while, and is then revoked or left to itself until the key is gone.
func (w *worker) lease(ctx context.Context) {
	for ctx.Err() == nil {
		w.oneLease(ctx)
		w.pause(ctx)
	}
}

func (w *worker) oneLease(ctx context.Context) {
	id, ok := w.grant()
	if !ok {
		return
	}
	key := fmt.Sprintf("%slease/%x", w.prefix, int64(id))
	if w.put(key, id).Outcome != history.OK {
		return // it may be there: the lease's end takes it away
	}
	w.held.Store(int64(id))
	alive := true
	for n := 4 + w.r.IntN(8); n > 0 && alive && ctx.Err() == nil; n-- {
		w.pause(ctx)
		if n%2 == 0 {
			alive = w.keepAlive(id)
		} else {
			alive = w.get(key).Seen != nil
		}
	}
	w.held.Store(0)
	if w.r.IntN(2) == 0 {
		w.revoke(id)
	}
	for range leaseGone {
		w.pause(ctx)
		if o := w.get(key); ctx.Err() != nil || o.Outcome == history.OK && o.Seen == nil {
			return
		}
	}
}

func (w *worker) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(leasePause):
	}
}

func (w *worker) grant() (id clientv3.LeaseID, ok bool) {
	o := w.do(history.Op{Kind: history.Grant}, func(ctx context.Context, o *history.Op) error {
		resp, err := w.c.Grant(ctx, int64(leaseTTL/time.Second))
		if err == nil {
			id, o.Lease, o.TTL = resp.ID, int64(resp.ID), time.Duration(resp.TTL)*time.Second
		}
		return err
	})
	return id, o.Outcome == history.OK
}

// keepAlive is false when the lease is no more.
func (w *worker) keepAlive(id clientv3.LeaseID) bool {
	o := w.do(history.Op{Kind: history.KeepAlive, Lease: int64(id)}, func(ctx context.Context, o *history.Op) error {
		resp, err := w.c.KeepAliveOnce(ctx, id)
		if err == nil {
			o.TTL = time.Duration(resp.TTL) * time.Second
		}
		return err
	})
	return o.Outcome != history.Refused
}

func (w *worker) revoke(id clientv3.LeaseID) {
	w.do(history.Op{Kind: history.Revoke, Lease: int64(id)}, func(ctx context.Context, _ *history.Op) error {
		_, err := w.c.Revoke(ctx, id)
		return err
	})
}
