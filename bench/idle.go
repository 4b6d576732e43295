package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"cke/internal/api"
)

// What an idle cke may cost.
const (
	rssTarget = 120 // MB
	cpuTarget = 1.0 // percent of one core
)

// clockTick is the unit of times in /proc/PID/stat; the kernel's USER_HZ is 100
// on every architecture Go runs on.
const clockTick = 10 * time.Millisecond

// idle measures the cke process alone, with a healthy cluster it has nothing to
// do for.
func idle(ctx context.Context, o options) (err error) {
	d, err := startDaemon(ctx, o, "cke", onLoopback(network(0, 1)))
	if err != nil {
		return err
	}
	defer func() { err = d.over(err) }()
	if _, err := d.api.PutSpec(ctx, "cluster.yml", d.site.spec); err != nil {
		return fmt.Errorf("set cluster: %w", err)
	}
	ready, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := d.until(ready, func(s api.Status) bool { return s.Settled }); err != nil {
		return fmt.Errorf("wait for a settled cluster: %w", err)
	}
	fmt.Printf("idle: three healthy members, nothing to do; measure cke for %s after %s\n", o.span, o.settle)
	if err := pause(ctx, o.settle); err != nil {
		return err
	}
	used, err := watch(ctx, d.cmd.Process.Pid, o.span)
	if err != nil {
		return err
	}
	fmt.Printf("idle: RSS %.0f MB, highest %.0f MB (target at most %d MB)\n", mb(used.rss), mb(used.highest), rssTarget)
	fmt.Printf("idle: CPU %.2f %% of a core (target at most %.0f %%)\n", used.busy, cpuTarget)
	return nil
}

// load of one process over a span of time.
type load struct {
	busy         float64 // percent of a core
	rss, highest int64   // bytes
}

func watch(ctx context.Context, pid int, span time.Duration) (load, error) {
	before, err := usageOf(pid)
	if err != nil {
		return load{}, err
	}
	begin := time.Now()
	l := load{highest: before.rss}
	for now := before; ; {
		passed := time.Since(begin)
		l.rss, l.highest = now.rss, max(l.highest, now.rss)
		l.busy = 100 * float64(now.cpu-before.cpu) / float64(passed)
		if passed >= span {
			return l, nil
		}
		if err := pause(ctx, min(time.Second, span)); err != nil {
			return load{}, err
		}
		if now, err = usageOf(pid); err != nil {
			return load{}, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// usage of one process so far.
type usage struct {
	cpu time.Duration // user and system
	rss int64         // bytes
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// usageOf reads /proc/PID/stat, see proc_pid_stat(5).
func usageOf(pid int) (usage, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	raw, err := os.ReadFile(path)
	if err != nil {
		return usage{}, err
	}
	// The name in parentheses may hold anything; fields count from behind it.
	_, rest, ok := bytes.Cut(raw, []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 22 {
		return usage{}, fmt.Errorf("read %s: not of the form it should have", path)
	}
	var user, system, pages int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12]+" "+fields[21], &user, &system, &pages); err != nil {
		return usage{}, fmt.Errorf("read %s: %w", path, err)
	}
	return usage{time.Duration(user+system) * clockTick, pages * int64(os.Getpagesize())}, nil
}
