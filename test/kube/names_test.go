package kube

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/plan"
	"cke/test/drive"
	"cke/test/kube/k8s"
)

// TestNames finds the members by CoreDNS alone while each of them is replaced, and
// while members die.
func TestNames(t *testing.T) {
	e := newEnv(t, 6, onBox)
	e.found(1, 2, 3)
	// An API server waits 10 s and longer for a member whose machine is gone without
	// a word, and tells nobody anything meanwhile. So it does not know of the one
	// that this will happen to; behind a gateway it would not wait.
	server := e.serve(1, 2, 3, 4, 6)
	e.publish(1, 2, 3)
	r := e.startDNS()
	e.answers(r, 1, 2, 3)
	t.Run("SRV", func(t *testing.T) { e.in(t).hasServiceRecords(r, 1, 2, 3) })
	t.Run("each member replaced", func(t *testing.T) { e.in(t).surviveReplacement(r) })
	// Its client waits ever longer, up to two minutes, before it tries a member again
	// that was not there when it began: with the other killed it would have none. One
	// that begins now knows both.
	server.Kill()
	e.serve(4, 6)
	e.shows(4, 5, 6)
	t.Run("a member killed", func(t *testing.T) {
		e := e.in(t)
		e.disappears(r, 4, func() (time.Time, func()) { return e.killForGood(4) })
	})
	t.Run("a machine without power", func(t *testing.T) {
		e := e.in(t)
		e.disappears(r, 5, func() (time.Time, func()) {
			died := time.Now()
			e.must(e.lab.Machine(5).PowerCut())
			return died, func() { e.must(e.lab.Machine(5).On()) }
		})
	})
}

// answers waits until the name has exactly these machines' addresses.
func (e *env) answers(r *net.Resolver, nodes ...int) {
	e.t.Helper()
	want := e.addrs(nodes...)
	slices.Sort(want)
	e.Eventually(fmt.Sprintf("the name has the addresses of %v", nodes), func() error {
		got, err := resolved(r)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it has %v", got)
		}
		return err
	})
}

// hasServiceRecords looks for what --discovery-srv looks for.
func (e *env) hasServiceRecords(r *net.Resolver, nodes ...int) {
	_, srv, err := r.LookupSRV(e.ctx(), "etcd-client-ssl", "tcp", serviceName+".")
	e.must(err)
	var got, want []string
	for _, s := range srv {
		got = append(got, fmt.Sprintf("%s:%d", s.Target, s.Port))
	}
	for _, i := range nodes {
		want = append(want, fmt.Sprintf("%s.%s.:2379", e.name(i), serviceName))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		e.t.Errorf("the service records lead to %v, want %v", got, want)
	}
}

// caller runs etcdctl over and over, by each of the two ways of finding members.
// A run is one process: it finds the names itself and has 5 s for its answer, so
// what it gets over within is etcd's client, as for any application. What was too late
// as the machine stood still is not held against anybody.
type caller struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	runs   int
	slow   time.Duration
	failed []string
}

func (e *env) callByNames(still *drive.Lookout) *caller {
	e.t.Helper()
	flags := e.asRoot()
	ctx, cancel := context.WithCancel(context.Background())
	c := &caller{cancel: cancel}
	for _, way := range []string{"--endpoints=https://" + serviceName + ":2379", "--discovery-srv=" + serviceName} {
		c.wg.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				// Not with ctx: the last run is let finish.
				out, err := e.byNames(context.WithoutCancel(ctx), slices.Concat([]string{way}, flags, []string{"get", "/app/is/there"})...)
				took := time.Since(began)
				c.mu.Lock()
				c.runs++
				c.slow = max(c.slow, took)
				if late := strings.Contains(out, "deadline exceeded") && still.Near(began, began.Add(took)); err != nil && !late {
					c.failed = append(c.failed, fmt.Sprintf("%s %s after %s: %v: %s", began.Format(time.StampMilli), way, took.Round(time.Millisecond), err, strings.TrimSpace(out)))
				}
				c.mu.Unlock()
				again(ctx)
			}
		})
	}
	e.t.Cleanup(func() { cancel(); c.wg.Wait() })
	return c
}

// finish ends it; no run may have failed.
func (c *caller) finish(e *env) {
	e.t.Helper()
	c.cancel()
	c.wg.Wait()
	e.t.Logf("etcdctl ran %d times by names; the slowest took %s", c.runs, c.slow.Round(time.Millisecond))
	if c.runs < 50 {
		e.t.Errorf("etcdctl ran only %d times, too few to mean something", c.runs)
	}
	if len(c.failed) > 0 {
		e.t.Errorf("%d of %d runs failed:\n%s", len(c.failed), c.runs, strings.Join(c.failed[:min(8, len(c.failed))], "\n"))
	}
}

// surviveReplacement replaces h1, h2 and h3 by h4, h5 and h6, one at a time.
func (e *env) surviveReplacement(r *net.Resolver) {
	began, w, still := time.Now(), e.watchSlice(), e.LookOut()
	c := e.callByNames(still)
	for _, nodes := range [][]int{{2, 3, 4}, {3, 4, 5}, {4, 5, 6}} {
		e.Set(e.yaml(nodes...))
		e.shows(nodes...)
		e.answers(r, nodes...)
		e.hasServiceRecords(r, nodes...)
	}
	c.finish(e)
	versions := w.finish()
	for _, i := range []int{4, 5, 6} {
		e.cameAfterPromotion(i, versions)
	}
	for _, i := range []int{1, 2, 3} {
		e.wasWithdrawnFirst(i, versions)
	}
	still.Check(began)
	for _, v := range versions {
		if len(v.ready()) < 2 && !still.Near(v.at, v.at) { // who did not answer meanwhile counts as ill
			e.t.Errorf("from %s on only %v were ready", v.at.Format(time.StampMilli), v.ready())
		}
	}
}

// began is when the last step of a kind began on a machine's node.
func (e *env) began(k plan.Kind, i int) time.Time {
	e.t.Helper()
	var at time.Time
	for _, rec := range e.History() {
		if rec.Step != nil && rec.Step.Kind == k && slices.Contains(rec.Step.Nodes, e.name(i)) {
			at = rec.At
		}
	}
	if at.IsZero() {
		e.t.Fatalf("there was no %s on %s", k, e.name(i))
	}
	return at
}

// cameAfterPromotion checks that a member is in no version of before it was told
// to vote.
func (e *env) cameAfterPromotion(i int, versions []version) {
	e.t.Helper()
	promoted := e.began(plan.PromoteLearner, i)
	for _, v := range versions {
		if v.at.Before(promoted) && v.has(e.addr(i).String()) {
			e.t.Errorf("%s was in the slice at %s, and was promoted only at %s", e.name(i), v.at.Format(time.StampMilli), promoted.Format(time.StampMilli))
			return
		}
	}
}

// wasWithdrawnFirst checks that a member was not ready any more when its removal
// began. When the API server took that is known from CKE, which had its answer; the
// test's own watch may tell it later, but must tell it.
func (e *env) wasWithdrawnFirst(i int, versions []version) {
	e.t.Helper()
	removed := e.began(plan.RemoveMember, i)
	addr, name := e.addr(i).String(), string(e.name(i))
	if !slices.ContainsFunc(versions, func(v version) bool { return !slices.Contains(v.ready(), addr) }) {
		e.t.Errorf("the watch has never seen that %s is not ready", e.name(i))
	}
	withdrawn := false
	for _, rec := range e.History() {
		if rec.Step == nil && rec.At.Before(removed) {
			withdrawn = strings.Contains(rec.Reason, name+" withdrawn") || withdrawn && !strings.Contains(rec.Reason, name+" published")
		}
	}
	if !withdrawn {
		e.t.Errorf("%s was still ready when its removal began at %s", name, removed.Format(time.StampMilli))
	}
}

// has says whether an address is in the slice, ready or not.
func (s slice) has(addr string) bool {
	return slices.ContainsFunc(s.Endpoints, func(ep endpoint) bool { return slices.Contains(ep.Addresses, addr) })
}

// disappears has a member die: its endpoint is not ready within 5 s, and its name
// is gone within the time a record may be kept after that.
func (e *env) disappears(r *net.Resolver, i int, die func() (died time.Time, live func())) {
	t, addr := e.t, e.addr(i).String()
	others := slices.DeleteFunc([]int{4, 5, 6}, func(o int) bool { return o == i })
	w, writes, still := e.watchSlice(), e.watchWrites(others...), e.LookOut()
	died, live := die()
	var gone time.Duration
	e.Eventually("its name is gone", func() error {
		got, err := resolved(r)
		if err == nil && slices.Contains(got, addr) {
			err = fmt.Errorf("the name has %v", got)
		}
		gone = time.Since(died)
		return err
	})
	limit := withdrawnWithin + k8s.TTL + e.withdrawnInTime(w, writes, still, addr, died)
	t.Logf("its name was gone after %s", gone.Round(time.Millisecond))
	if gone > limit {
		t.Errorf("its name was there for %s, want at most %s", gone, limit)
	}
	live()
	e.Until("it serves again", func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Hostname == e.name(i) && n.Member != nil && n.Member.Healthy {
				return nil
			}
		}
		return fmt.Errorf("not yet")
	})
	e.answers(r, 4, 5, 6)
}
