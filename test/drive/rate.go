package drive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
)

const (
	// ratePatience is the applications' request timeout.
	ratePatience = 2 * time.Second
	// rateSlow is a put that stalls.
	rateSlow = time.Second
	// aroundMove is how far from a move of leadership a put may fail or stall.
	aroundMove = 2 * time.Second
	ratePulse  = 10 * time.Millisecond
	rateKeys   = 1000
	ratePrefix = "/app/rate/"
)

// Rate asks for so many puts and as many gets a second of all endpoints at once,
// whatever becomes of those before, and watches what is put. A put is sent once.
type Rate struct {
	in     *Installation
	per    int
	puts   *clientv3.Client
	gets   *clientv3.Client
	root   *clientv3.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup // the watch and who looks at the leader
	look   *Lookout
	ops    sync.WaitGroup
	// stopTicking returns when every request has ended.
	stopTicking func()
	began       time.Time
	ended       time.Time

	mu     sync.Mutex
	asked  int
	put    []asked
	got    []asked
	events map[int64]string // what the watch told, by revision
	last   int64            // its newest revision
	broken []error          // what was wrong with the watch
	moves  []Move
}

// asked is one request.
type asked struct {
	value      string
	revision   int64
	began, end time.Time
	err        error
}

func (a asked) String() string {
	return fmt.Sprintf("%s at %s, for %s: %v", a.value, a.began.Format(time.StampMilli), a.end.Sub(a.began).Round(time.Millisecond), a.err)
}

// Move is a change of the leader: when the old one was last seen to lead, and the
// new one first.
type Move struct{ From, To time.Time }

// StartRate needs user app with prefix /app/ and returns when the load runs.
func (in *Installation) StartRate(perSecond int, addresses ...string) *Rate {
	in.T.Helper()
	app := in.UserCert("app")
	r := &Rate{
		in: in, per: perSecond, gets: in.Connect(app, addresses...), root: in.Connect(in.RootCert(), addresses...),
		puts: in.connectOnce(app, addresses...), events: map[int64]string{},
	}
	var first *clientv3.PutResponse
	// Sent once, it may meet a member that does not know of the user yet.
	in.Eventually("the first put", func() (err error) {
		ctx, cancel := context.WithTimeout(in.T.Context(), ratePatience)
		defer cancel()
		first, err = r.puts.Put(ctx, ratePrefix+"first", "first")
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.began, r.last = cancel, time.Now(), first.Header.Revision
	r.wg.Go(func() { r.watch(ctx, first.Header.Revision+1) })
	r.wg.Go(func() { r.followLeader(ctx) })
	r.look = in.LookOut()
	ticking, stop := context.WithCancel(ctx)
	ticked := make(chan struct{})
	go func() { defer close(ticked); r.tick(ticking) }()
	r.stopTicking = func() { stop(); <-ticked; r.ops.Wait() }
	in.T.Cleanup(func() { r.stopTicking(); cancel(); r.wg.Wait() })
	return r
}

// connectOnce makes a client that sends each request once.
func (in *Installation) connectOnce(c api.Certificate, addresses ...string) *clientv3.Client {
	in.T.Helper()
	return in.connect(c, clientv3.Config{MaxUnaryRetries: 1}, addresses...)
}

// tick keeps to the rate: what a pause of this process left out is asked at once.
func (r *Rate) tick(ctx context.Context) {
	t := time.NewTicker(ratePulse)
	defer t.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		due := int(time.Since(r.began).Seconds() * float64(r.per))
		for ; n < due; n++ {
			value := strconv.Itoa(n) // n goes on meanwhile
			r.ops.Go(func() { r.ask(context.WithoutCancel(ctx), &r.put, value, r.putOne) })
			r.ops.Go(func() { r.ask(context.WithoutCancel(ctx), &r.got, value, r.getOne) })
		}
		r.mu.Lock()
		r.asked, r.ended = n, time.Now()
		r.mu.Unlock()
	}
}

func (r *Rate) ask(ctx context.Context, into *[]asked, value string, do func(context.Context, string) (int64, error)) {
	ctx, cancel := context.WithTimeout(ctx, ratePatience)
	defer cancel()
	a := asked{value: value, began: time.Now()}
	a.revision, a.err = do(ctx, value)
	a.end = time.Now()
	r.mu.Lock()
	*into = append(*into, a)
	r.mu.Unlock()
}

func key(value string) string {
	n, _ := strconv.Atoi(value) // made by this load
	return ratePrefix + strconv.Itoa(n%rateKeys)
}

func (r *Rate) putOne(ctx context.Context, value string) (int64, error) {
	resp, err := r.puts.Put(ctx, key(value), value)
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

func (r *Rate) getOne(ctx context.Context, value string) (int64, error) {
	_, err := r.gets.Get(ctx, key(value))
	return 0, err
}

// watch follows all puts with one watch, which the client takes to another member
// by itself.
func (r *Rate) watch(ctx context.Context, from int64) {
	for resp := range r.gets.Watch(ctx, ratePrefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		r.mu.Lock()
		if err := resp.Err(); err != nil && ctx.Err() == nil {
			r.broken = append(r.broken, err)
		}
		for _, ev := range resp.Events {
			if _, twice := r.events[ev.Kv.ModRevision]; twice || ev.Kv.ModRevision <= r.last {
				r.broken = append(r.broken, fmt.Errorf("the event of revision %d comes after that of %d (again: %v)", ev.Kv.ModRevision, r.last, twice))
			}
			r.last = ev.Kv.ModRevision
			r.events[ev.Kv.ModRevision] = string(ev.Kv.Value)
		}
		r.mu.Unlock()
	}
	if ctx.Err() == nil {
		r.mu.Lock()
		r.broken = append(r.broken, errors.New("the watch ended"))
		r.mu.Unlock()
	}
}

// followLeader notes each change of the leader.
func (r *Rate) followLeader(ctx context.Context) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	var leader, term uint64
	seen := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, ep := range r.root.Endpoints() {
			look, cancel := context.WithTimeout(ctx, time.Second)
			s, err := r.root.Status(look, ep)
			cancel()
			if err != nil || s.Leader != s.Header.MemberId || s.RaftTerm < term {
				continue // only the leader itself says that it leads
			}
			now := time.Now()
			if leader != 0 && s.Leader != leader {
				r.mu.Lock()
				r.moves = append(r.moves, Move{seen, now})
				r.mu.Unlock()
			}
			leader, term, seen = s.Leader, s.RaftTerm, now
		}
	}
}

// Run lets the load go on until it has run for so long in all.
func (r *Rate) Run(d time.Duration) {
	r.in.T.Helper()
	r.in.Within(d+Patience, "the load runs", func() error {
		if ran := time.Since(r.began); ran < d {
			return fmt.Errorf("it ran for %s", ran)
		}
		return nil
	})
}

// Finish ends the load and checks what applications may rely on through a planned
// change: no get fails and no event is missed, leadership moves at most so often,
// and puts fail or stall only around a move. What is only late is not held against
// anybody where the machine itself stood still.
func (r *Rate) Finish(moves int) {
	t := r.in.T
	t.Helper()
	r.stopTicking()
	r.sawEverything()
	r.cancel()
	r.wg.Wait()
	still, ran := r.look.end(), r.ended.Sub(r.began)
	good := func(all []asked) int {
		return len(slices.DeleteFunc(slices.Clone(all), func(a asked) bool { return a.err != nil && !a.waitedOut(still) }))
	}
	puts, gets := good(r.put), good(r.got)
	if least := int(0.95 * ran.Seconds() * float64(r.per)); puts < least || gets < least {
		t.Errorf("%d puts and %d gets in %s, want at least %d each: the load was below what was asked", puts, gets, ran.Round(time.Millisecond), least)
	}
	for _, a := range r.got {
		if a.err != nil && !a.waitedOut(still) {
			t.Errorf("a get failed: %s", a)
		}
	}
	bad, waited := 0, 0
	for _, a := range r.put {
		if a.err == nil && a.end.Sub(a.began) <= rateSlow {
			continue
		}
		if a.waitedOut(still) {
			waited++
			continue
		}
		if bad++; !slices.ContainsFunc(r.moves, func(m Move) bool {
			return a.end.After(m.From.Add(-aroundMove)) && a.began.Before(m.To.Add(aroundMove))
		}) {
			t.Errorf("a put failed or stalled, and leadership did not move then: %s", a)
		}
	}
	if mostlyStill(still, r.began, r.ended) {
		t.Errorf("the machine stood still for so much of %s that the run says nothing: %d times", ran.Round(time.Millisecond), len(still))
	}
	planned := slices.DeleteFunc(slices.Clone(r.moves), func(m Move) bool { return near(still, m.From, m.To) })
	if len(planned) > moves {
		t.Errorf("leadership moved %d times, want at most %d: %v", len(r.moves), moves, r.moves)
	}
	t.Logf("%d puts and %d gets in %s; %d puts failed or stalled; leadership moved %d times; longest put %s, longest get %s; the machine stood still %d times, for which %d puts waited",
		puts, gets, ran.Round(time.Millisecond), bad, len(r.moves), longest(r.put), longest(r.got), len(still), waited)
}

// sawEverything checks that the watch tells each put that was acknowledged, and
// nothing that was not asked for.
func (r *Rate) sawEverything() {
	t := r.in.T
	t.Helper()
	var newest int64
	for _, a := range r.put {
		newest = max(newest, a.revision)
	}
	r.in.Eventually("the watch has told all", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.last < newest && len(r.broken) == 0 {
			return fmt.Errorf("it is at revision %d of %d", r.last, newest)
		}
		return nil
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.broken {
		t.Errorf("the watch: %v", err)
	}
	missed := 0
	for _, a := range r.put {
		if a.err == nil && r.events[a.revision] != a.value {
			missed++
		}
	}
	if missed > 0 {
		t.Errorf("the watch missed %d of %d events", missed, len(r.put))
	}
}

func longest(all []asked) time.Duration {
	var d time.Duration
	for _, a := range all {
		d = max(d, a.end.Sub(a.began))
	}
	return d.Round(time.Millisecond)
}
