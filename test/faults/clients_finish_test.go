package faults

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/test/faults/history"
)

// served waits until every client has had so many answers from now on.
func (c *clients) served(answers int) {
	c.t.Helper()
	c.answered(answers, c.names())
}

// reads waits until every client that reads keys was answered so often from now on:
// no other answers are counted while writes are refused.
func (c *clients) reads(answers int) {
	c.t.Helper()
	var readers []string
	for _, tn := range c.all {
		readers = append(readers, tn.name+"/a", tn.name+"/b")
	}
	c.answered(answers, readers)
}

func (c *clients) answered(answers int, who []string) {
	c.t.Helper()
	since := c.rec.Now()
	c.in.Eventually("every client is served", func() error {
		n := c.rec.Count(since)
		var missing []string
		for _, who := range who {
			if n[who] < answers {
				missing = append(missing, fmt.Sprintf("%s had %d answers", who, n[who]))
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%s", strings.Join(missing, ", "))
		}
		return nil
	})
}

// names are those of all clients who ask.
func (c *clients) names() []string {
	all := []string{"probe"}
	for _, t := range c.all {
		for _, who := range []string{"a", "b", "lease"} {
			all = append(all, t.name+"/"+who)
		}
	}
	return all
}

// finish ends the work, on a cluster that is whole, and returns the history. What
// it waits for and does not come the checks find.
func (c *clients) finish() history.History {
	c.t.Helper()
	c.stopWork()
	c.work.Wait()
	c.leasesEnd()
	last := int64(0)
	for _, tn := range c.all {
		last = c.marked(tn)
		for _, w := range tn.watches {
			c.comes("the end of "+w.String(), func() bool { return c.rec.Latest(w) >= last })
		}
	}
	c.readLog(last)
	h := c.rec.History()
	h.First, h.Last, h.Log, h.Holes = c.first, last, c.reader.log, c.reader.holes
	return h
}

// comes polls, and goes on without what does not come: the checks find it missing.
func (c *clients) comes(what string, is func() bool) {
	c.t.Helper()
	deadline := time.After(c.patience)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-deadline:
			c.t.Logf("%s does not come within %s", what, c.patience)
			return
		case <-again.C:
		}
	}
}

// leasesEnd waits until no key of a lease is left.
func (c *clients) leasesEnd() {
	c.t.Helper()
	for _, tn := range c.all {
		c.comes("the end of "+tn.name+"'s leases", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
			defer cancel()
			resp, err := tn.mark.Get(ctx, tn.prefix+"lease/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			return err == nil && resp.Count == 0
		})
	}
}

// marked writes a last key, and returns its revision.
func (c *clients) marked(tn *tenant) int64 {
	c.t.Helper()
	w := &worker{tenant: tn, name: tn.name + "/a", rec: c.rec, c: tn.mark, mod: map[string]int64{}}
	var revision int64
	c.in.Eventually("the last write of "+tn.name, func() error {
		o := w.put(tn.prefix+"end", 0)
		revision = o.Revision
		if o.Outcome != history.OK {
			return fmt.Errorf("%s", o)
		}
		return nil
	})
	return revision
}
