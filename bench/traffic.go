package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// requestLimit is how long a client waits for an answer.
	requestLimit = 2 * time.Second
	// reachedLeast is how much of the asked rate must have been reached, or what
	// was measured is another load.
	reachedLeast = 0.95
	trafficKeys  = 1000
)

// traffic is puts and gets at a fixed rate, whatever becomes of the answers: a
// request that waits holds no other back. Of writes nothing is tried again; the
// client library itself repeats only what was certainly not sent.
type traffic struct {
	began  time.Time
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	puts tally
	gets tally
	seen int // events of the watch
}

// tally is what became of one kind of requests.
type tally struct {
	rate   int // asked, a second
	took   []time.Duration
	acked  []time.Time
	failed []failure
}

type failure struct {
	at  time.Time
	err error
}

// drive begins traffic over these clients in turn, with a watch that stays open
// through the first.
func drive(ctx context.Context, cs []*clientv3.Client, puts, gets int) *traffic {
	ctx, cancel := context.WithCancel(ctx)
	t := &traffic{began: time.Now(), cancel: cancel, puts: tally{rate: puts}, gets: tally{rate: gets}}
	t.wg.Go(func() {
		for r := range cs[0].Watch(ctx, "/bench/", clientv3.WithPrefix()) {
			t.mu.Lock()
			t.seen += len(r.Events)
			t.mu.Unlock()
		}
	})
	t.wg.Go(func() {
		t.pace(ctx, &t.puts, func(ctx context.Context, n int) error {
			_, err := cs[n%len(cs)].Put(ctx, "/bench/"+strconv.Itoa(n%trafficKeys), strconv.Itoa(n))
			return err
		})
	})
	t.wg.Go(func() {
		t.pace(ctx, &t.gets, func(ctx context.Context, n int) error {
			_, err := cs[n%len(cs)].Get(ctx, "/bench/"+strconv.Itoa(n%trafficKeys))
			return err
		})
	})
	return t
}

// pace begins a request at each of its times and counts its time from there, so
// that what a late beginning costs is not forgotten.
func (t *traffic) pace(ctx context.Context, y *tally, do func(context.Context, int) error) {
	if y.rate == 0 {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := 0; ; n++ {
		due := t.began.Add(time.Duration(n) * time.Second / time.Duration(y.rate))
		if pause(ctx, time.Until(due)) != nil {
			return
		}
		wg.Go(func() {
			one, cancel := context.WithDeadline(context.WithoutCancel(ctx), due.Add(requestLimit))
			defer cancel()
			err := do(one, n)
			t.note(y, due, err)
		})
	}
}

func (t *traffic) note(y *tally, due time.Time, err error) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		y.failed = append(y.failed, failure{due, err})
		return
	}
	y.took, y.acked = append(y.took, now.Sub(due)), append(y.acked, now)
}

// end stops asking, waits for the answers and says what became of them. Less
// than the asked rate is an error.
func (t *traffic) end() (outcome, error) {
	span := time.Since(t.began)
	t.cancel()
	t.wg.Wait()
	o := outcome{began: t.began, span: span, puts: t.puts, gets: t.gets, seen: t.seen}
	for _, y := range []tally{t.puts, t.gets} {
		asked := float64(y.rate) * span.Seconds()
		if got := float64(len(y.took) + len(y.failed)); got < reachedLeast*asked {
			return o, fmt.Errorf("the load reached %.0f of %.0f requests: the box is too busy", got, asked)
		}
	}
	return o, nil
}

// outcome is what became of some traffic.
type outcome struct {
	began      time.Time
	span       time.Duration
	puts, gets tally
	seen       int
}

func (o outcome) String() string {
	return fmt.Sprintf("failed puts %d, gets %d; longest stall of puts %d ms, gets %d ms; p99 of puts %d ms, gets %d ms",
		len(o.puts.failed), len(o.gets.failed), o.puts.longest().Milliseconds(), o.gets.longest().Milliseconds(),
		o.puts.p99().Milliseconds(), o.gets.p99().Milliseconds())
}

// longest is the longest time without an acknowledgement.
func (y tally) longest() time.Duration { return y.stall(time.Time{}, time.Now()) }

// stall is the longest of the times without an acknowledgement that overlap a
// span.
func (y tally) stall(from, to time.Time) (longest time.Duration) {
	acked := slices.SortedFunc(slices.Values(y.acked), time.Time.Compare)
	for i := 1; i < len(acked); i++ {
		if acked[i].Before(from) || acked[i-1].After(to) {
			continue
		}
		longest = max(longest, acked[i].Sub(acked[i-1]))
	}
	return longest
}

func (y tally) p99() time.Duration {
	if len(y.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(y.took))
	return sorted[len(sorted)*99/100]
}

// errors are the failures by what they say, each with how often and when first.
func (y tally) errors(since time.Time) string {
	count, first := map[string]int{}, map[string]time.Time{}
	var order []string
	for _, f := range y.failed {
		what := f.err.Error()
		if errors.Is(f.err, context.DeadlineExceeded) {
			what = "no answer in time"
		}
		if count[what]++; count[what] == 1 {
			order, first[what] = append(order, what), f.at
		}
	}
	var lines []string
	for _, what := range order {
		lines = append(lines, fmt.Sprintf("%d times from +%d ms: %s", count[what], first[what].Sub(since).Milliseconds(), what))
	}
	return strings.Join(lines, "; ")
}
