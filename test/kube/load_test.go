package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/test/drive"
	"cke/test/kube/k8s"
)

const (
	loadPath = "/api/v1/namespaces/load/configmaps"
	// objectsPerSecond are created; as many are updated, read and deleted.
	objectsPerSecond = 50
	// requestPatience is how long a request may take before it has failed.
	requestPatience = 10 * time.Second
)

// attempt is one request.
type attempt struct {
	what       string
	began, end time.Time
	err        error
}

func (a attempt) String() string {
	return fmt.Sprintf("%s at %s, for %s: %v", a.what, a.began.Format(time.StampMilli), a.end.Sub(a.began).Round(time.Millisecond), a.err)
}

// load makes, changes, reads, watches and deletes objects in an API server.
type load struct {
	e      *env
	c      *k8s.Client
	prefix string // of its objects' names, so that no load meets another's
	began  time.Time
	still  *drive.Lookout
	stop   func() // ends the clock, and waits until no object lives any more
	cancel context.CancelFunc
	wg     sync.WaitGroup // the watch and who looks at the leader

	mu     sync.Mutex
	reads  []attempt
	writes []attempt
	// created is when the API server said that an object was made; seen when the
	// watch did.
	created, seen map[string]time.Time
	watchErrs     []attempt // how each watch ended, and when the next one began
	moves         []move
}

// move is a change of the leader: when the old one was last seen to lead, and the
// new one first.
type move struct{ from, to time.Time }

func (e *env) startLoad(root *clientv3.Client) *load {
	e.t.Helper()
	e.apply("{apiVersion: v1, kind: Namespace, metadata: {name: load}}", "apply", "-f", "-")
	c, err := e.Plane.Client()
	e.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{e: e, c: c, cancel: cancel, began: time.Now(), still: e.LookOut(), prefix: fmt.Sprintf("o%x-", time.Now().UnixNano()), created: map[string]time.Time{}, seen: map[string]time.Time{}}
	ticking, stop := context.WithCancel(ctx)
	var clock sync.WaitGroup
	clock.Go(func() { l.tick(ticking) })
	l.stop = func() { stop(); clock.Wait() }
	l.wg.Go(func() { l.watch(ctx) })
	l.wg.Go(func() { l.followLeader(ctx, root) })
	e.t.Cleanup(func() { cancel(); l.stop(); l.wg.Wait() })
	return l
}

// tick begins the life of an object each 20 ms, whatever became of the others, and
// waits for the ends of all.
func (l *load) tick(ctx context.Context) {
	var lives sync.WaitGroup
	defer lives.Wait()
	t := time.NewTicker(time.Second / objectsPerSecond)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			lives.Go(func() { l.live(l.prefix + strconv.Itoa(n)) })
		}
	}
}

// live is the life of one object. What could not be made is not used further.
func (l *load) live(name string) {
	object := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": map[string]string{"a": "1"}}
	path := loadPath + "/" + name
	write := func(what string, do func(context.Context) error) bool {
		a := l.try(what+" "+name, do)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.writes = append(l.writes, a)
		if a.err == nil && what == "create" {
			l.created[name] = a.end
		}
		return a.err == nil
	}
	read := func(what string, do func(context.Context) error) {
		a := l.try(what+" "+name, do)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.reads = append(l.reads, a)
	}
	if !write("create", func(ctx context.Context) error { return l.c.Create(ctx, loadPath, object, nil) }) {
		return
	}
	read("get", func(ctx context.Context) error { return l.c.Get(ctx, path, nil) })
	write("update", func(ctx context.Context) error {
		return l.c.Merge(ctx, path, map[string]any{"data": map[string]string{"a": "2"}})
	})
	read("list", func(ctx context.Context) error { return l.c.Get(ctx, loadPath+"?limit=5", nil) })
	write("delete", func(ctx context.Context) error { return l.c.Delete(ctx, path) })
}

func (l *load) try(what string, do func(context.Context) error) attempt {
	ctx, cancel := context.WithTimeout(context.Background(), requestPatience)
	defer cancel()
	a := attempt{what: what, began: time.Now()}
	a.err = do(ctx)
	a.end = time.Now()
	return a
}

// watch follows the objects, from where the last watch ended.
func (l *load) watch(ctx context.Context) {
	from := ""
	for ctx.Err() == nil {
		broken := attempt{what: "watch", began: time.Now()}
		first := true
		broken.err = l.c.Watch(ctx, loadPath+"?watch=1&allowWatchBookmarks=true&resourceVersion="+from, func(ev k8s.Event) {
			now := time.Now()
			l.mu.Lock()
			defer l.mu.Unlock()
			if first {
				first = false
				if n := len(l.watchErrs); n > 0 {
					l.watchErrs[n-1].end = now
				}
			}
			var o struct {
				Metadata struct {
					Name            string `json:"name"`
					ResourceVersion string `json:"resourceVersion"`
				} `json:"metadata"`
			}
			if err := json.Unmarshal(ev.Object, &o); err != nil || ev.Type == "ERROR" {
				l.watchErrs = append(l.watchErrs, attempt{"watch", now, now, errors.Join(err, errors.New(string(ev.Object)))})
				return
			}
			from = o.Metadata.ResourceVersion
			if ev.Type == "ADDED" {
				l.seen[o.Metadata.Name] = now
			}
		})
		if ctx.Err() != nil {
			return
		}
		broken.began = time.Now()
		l.mu.Lock()
		l.watchErrs = append(l.watchErrs, broken)
		l.mu.Unlock()
		again(ctx)
	}
}

// followLeader asks every member whether it leads, and remembers when another does.
func (l *load) followLeader(ctx context.Context, root *clientv3.Client) {
	var leader, term uint64
	last := time.Now()
	for ctx.Err() == nil {
		for _, ep := range root.Endpoints() {
			one, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			s, err := root.Status(one, ep)
			cancel()
			if err != nil || s.Leader != s.Header.MemberId || s.RaftTerm < term {
				continue // only the leader itself says that it leads; others may be behind
			}
			if leader != 0 && s.Leader != leader {
				l.mu.Lock()
				l.moves = append(l.moves, move{last, time.Now()})
				l.mu.Unlock()
			}
			leader, term, last = s.Leader, s.RaftTerm, time.Now()
			break
		}
		again(ctx)
	}
}

// made is how many objects were created so far.
func (l *load) made() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.created)
}

// hasSeenAll says whether the watch has told of every object that was made.
func (l *load) hasSeenAll() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.created {
		if _, ok := l.seen[name]; !ok {
			return false
		}
	}
	return true
}

// finish ends the load and holds it to what was promised. The watch goes on for as
// long as it may be behind. What is only late is not held against anybody where the
// machine itself stood still.
func (l *load) finish(t *testing.T, atLeast int) {
	t.Helper()
	l.e.Eventually("there are enough objects to mean something", l.hasMade(atLeast))
	l.stop()
	for end := time.Now().Add(watchGap); !l.hasSeenAll() && time.Now().Before(end); {
		again(context.Background())
	}
	l.cancel()
	l.wg.Wait()
	var failedReads, failedWrites, unexplained []attempt
	var slow time.Duration
	for _, a := range l.reads {
		slow = max(slow, a.end.Sub(a.began))
		if a.err != nil {
			failedReads = append(failedReads, a)
		}
	}
	for _, a := range l.writes {
		if a.err == nil {
			continue
		}
		failedWrites = append(failedWrites, a)
		if !slices.ContainsFunc(l.moves, a.near) && !l.waitedOut(a) {
			unexplained = append(unexplained, a)
		}
	}
	t.Logf("%d objects, %d writes of which %d failed, %d reads (the slowest took %s); leadership moved %d times, the watch broke %d times",
		len(l.created), len(l.writes), len(failedWrites), len(l.reads), slow.Round(time.Millisecond), len(l.moves), len(l.watchErrs))
	report(t, "reads failed", slices.DeleteFunc(failedReads, l.waitedOut))
	report(t, "writes failed away from any leadership move", unexplained)
	l.checkWatch(t)
	l.still.Check(l.began)
}

// waitedOut says whether a request was not answered in its time as the machine stood
// still.
func (l *load) waitedOut(a attempt) bool {
	return errors.Is(a.err, context.DeadlineExceeded) && l.still.Near(a.began, a.end)
}

// afterMove is how long after a leadership move, or before it was seen, a write
// may fail.
const afterMove = 2 * time.Second

func (a attempt) near(m move) bool {
	return a.end.After(m.from.Add(-afterMove)) && a.began.Before(m.to.Add(afterMove))
}

// watchGap is how long a watch may say nothing of what is so.
const watchGap = 2 * time.Second

// checkWatch holds the watch to every object that was made, and to telling of it
// in time; one that broke must have gone on by then.
func (l *load) checkWatch(t *testing.T) {
	t.Helper()
	var late, missed int
	var worst time.Duration
	for name, at := range l.created {
		seen, ok := l.seen[name]
		if !ok {
			missed++
			continue
		}
		worst = max(worst, seen.Sub(at))
		if seen.Sub(at)-l.still.During(at, seen) > watchGap {
			late++
		}
	}
	t.Logf("the watch was at most %s behind", worst.Round(time.Millisecond))
	if missed > 0 || late > 0 {
		t.Errorf("the watch missed %d of %d objects, and was later than %s with %d", missed, len(l.created), watchGap, late)
	}
	for _, b := range l.watchErrs {
		if b.end.Sub(b.began)-l.still.During(b.began, b.end) > watchGap {
			t.Errorf("a broken watch: %s", b)
		}
	}
}

func report(t *testing.T, what string, all []attempt) {
	t.Helper()
	if len(all) == 0 {
		return
	}
	text := fmt.Sprintf("%d %s:", len(all), what)
	for _, a := range all[:min(6, len(all))] {
		text += "\n" + a.String()
	}
	t.Error(text)
}
