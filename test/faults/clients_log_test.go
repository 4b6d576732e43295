package faults

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/test/faults/history"
)

// reader reads what etcd tells of all tenants' keys, in pieces: what is compacted
// away later was read before.
type reader struct {
	log   []history.Event
	holes []history.Gap
	next  int64 // the first revision that was not read

	root *clientv3.Client
	made time.Time
}

// rootFor is how long a root certificate is used, which is good for two hours.
const rootFor = time.Hour

func (c *clients) reading() *clientv3.Client {
	c.t.Helper()
	if r := &c.reader; r.root == nil || time.Since(r.made) > rootFor {
		r.root, r.made = c.root(), time.Now()
	}
	return c.reader.root
}

// keepLog reads what there is by now.
func (c *clients) keepLog() {
	c.t.Helper()
	root := c.reading()
	var newest int64
	c.in.Eventually("the newest change", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		resp, err := root.Get(ctx, logPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1),
			clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend))
		if err == nil && len(resp.Kvs) > 0 {
			newest = resp.Kvs[0].ModRevision
		}
		return err
	})
	c.readLog(newest)
}

// readLog reads up to a change that took place.
func (c *clients) readLog(last int64) {
	c.t.Helper()
	r, root := &c.reader, c.reading()
	c.in.Eventually("the log", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if r.next > last {
			return nil
		}
		for resp := range root.Watch(clientv3.WithRequireLeader(ctx), logPrefix, clientv3.WithPrefix(), clientv3.WithRev(r.next)) {
			if resp.CompactRevision >= r.next {
				r.holes = append(r.holes, history.Gap{From: r.next, To: resp.CompactRevision})
				r.next = resp.CompactRevision + 1
			}
			if err := resp.Err(); err != nil {
				return err
			}
			if len(resp.Events) > 0 {
				r.log = append(r.log, events(resp.Events, c.rec.Now())...)
				r.next = resp.Events[len(resp.Events)-1].Kv.ModRevision + 1
			}
			if r.next > last {
				return nil
			}
		}
		return fmt.Errorf("it ends after %d changes, before revision %d", len(r.log), last)
	})
}
