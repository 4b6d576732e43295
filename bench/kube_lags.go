package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"cke/test/kube/k8s"
)

const serviceName = "cke-etcd.kube-system.svc.cluster.local."

// lags are how long after something happened each of two places told of it.
type lags struct{ slice, dns []time.Duration }

func (l *lags) add(slice, dns time.Duration) {
	l.slice, l.dns = append(l.slice, slice), append(l.dns, dns)
}

func (l *lags) print(from string) {
	fmt.Printf("from %s, median and worst of %d: to the EndpointSlice %d ms and %d ms, to the DNS answer %d ms and %d ms\n", from, len(l.slice),
		median(l.slice).Milliseconds(), slices.Max(l.slice).Milliseconds(), median(l.dns).Milliseconds(), slices.Max(l.dns).Milliseconds())
}

// deaths kills each member in turn. Systemd is kept from starting it again until
// it has been noticed, for a member that is back at once is hardly missed.
func (k *kubernetes) deaths(ctx context.Context) error {
	const (
		hold = `d=/run/systemd/system/etcd-bench.service.d; mkdir -p $d
printf '[Unit]\nAssertPathExists=/nowhere\n' >$d/dead.conf; systemctl daemon-reload`
		kill = `systemctl kill -s KILL etcd-bench.service`
		live = `rm -r /run/systemd/system/etcd-bench.service.d; systemctl daemon-reload; systemctl start --no-block etcd-bench.service`
	)
	var l lags
	for n := range kubeTimes {
		i := 1 + n%3
		sh := func(line string) error { _, err := k.l.Machine(i).Exec(ctx, "sh", "-ec", line); return err }
		if err := sh(hold); err != nil {
			return err
		}
		died := time.Now()
		if err := sh(kill); err != nil {
			return err
		}
		slice, dns, err := k.since(ctx, died, k.address(i), false)
		if err != nil {
			return err
		}
		l.add(slice, dns)
		if err := sh(live); err != nil {
			return err
		}
		if _, _, err := k.since(ctx, time.Now(), k.address(i), true); err != nil {
			return err
		}
		if err := k.settled(ctx, 1, 2, 3); err != nil {
			return err
		}
	}
	l.print("a member's death")
	return nil
}

// promotions replaces a member by the machine that carries none, in turn.
func (k *kubernetes) promotions(ctx context.Context) error {
	var l lags
	nodes := []int{1, 2, 3}
	for n := range kubeTimes {
		next := 1 + (n+3)%kubeMachines
		nodes = append(nodes[1:], next)
		if err := k.put(ctx, nodes...); err != nil {
			return err
		}
		at, err := k.promoted(ctx, next)
		if err != nil {
			return err
		}
		slice, dns, err := k.since(ctx, at, k.address(next), true)
		if err != nil {
			return err
		}
		l.add(slice, dns)
		if err := k.settled(ctx, nodes...); err != nil {
			return err
		}
	}
	l.print("a promotion")
	return nil
}

// since waits until the slice has an address as ready, or has it not, and the
// name likewise, and returns how long after a moment that was.
func (k *kubernetes) since(ctx context.Context, at time.Time, addr string, there bool) (slice, dns time.Duration, err error) {
	named := make(chan error, 1)
	go func() {
		err := poll(ctx, func(ctx context.Context) bool {
			got, err := k.names.LookupHost(ctx, serviceName)
			return err == nil && slices.Contains(got, addr) == there
		})
		dns = time.Since(at)
		named <- err
	}()
	err = poll(ctx, func(ctx context.Context) bool {
		ready, err := k.ready(ctx)
		return err == nil && slices.Contains(ready, addr) == there
	})
	slice = time.Since(at)
	if other := <-named; err == nil {
		err = other
	}
	return slice, dns, err
}

// ready are the addresses that the slice offers, as the API server remembers
// them: it need not ask etcd.
func (k *kubernetes) ready(ctx context.Context) ([]string, error) {
	var s struct {
		Endpoints []struct {
			Addresses  []string `json:"addresses"`
			Conditions struct {
				Ready bool `json:"ready"`
			} `json:"conditions"`
		} `json:"endpoints"`
	}
	err := k.c.Get(ctx, "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/cke-etcd?resourceVersion=0", &s)
	var out []string
	for _, ep := range s.Endpoints {
		if ep.Conditions.Ready {
			out = append(out, ep.Addresses...)
		}
	}
	return out, err
}

// poll asks until the answer is yes.
func poll(ctx context.Context, yes func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for {
		one, done := context.WithTimeout(ctx, 2*time.Second)
		ok := yes(one)
		done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// quiet counts what CKE asks while nothing happens.
func (k *kubernetes) quiet(ctx context.Context, span time.Duration) error {
	if err := pause(ctx, k8s.TTL); err != nil { // what the last change leads to is over
		return err
	}
	began := time.Now()
	if err := pause(ctx, span); err != nil {
		return err
	}
	all, opened, err := asked(k.audit, time.Time{})
	if err != nil {
		return err
	}
	if all == 0 || opened == 0 {
		return fmt.Errorf("count calls: the audit has %d of them and %d watches, so it is not of cke", all, opened)
	}
	calls, watches, err := asked(k.audit, began)
	if err != nil {
		return err
	}
	perHour := float64(time.Hour) / float64(span)
	fmt.Printf("calls in %s of quiet: %d, and %d watches begun; extrapolated to an hour: %.0f (target at most 60), and %.0f\n",
		span, calls, watches, float64(calls)*perHour, float64(watches)*perHour)
	return nil
}

// asked counts the audit's entries from a moment on.
func asked(audit string, from time.Time) (calls, watches int, err error) {
	f, err := os.Open(audit)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			AuditID  string    `json:"auditID"`
			Verb     string    `json:"verb"`
			Received time.Time `json:"requestReceivedTimestamp"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return 0, 0, fmt.Errorf("read the audit: %w", err)
		}
		if seen[e.AuditID] || e.Received.Before(from) {
			continue
		}
		seen[e.AuditID] = true
		if e.Verb == "watch" {
			watches++
		} else {
			calls++
		}
	}
	return calls, watches, lines.Err()
}
