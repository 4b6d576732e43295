package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cke/test/lab"
)

// What 100 clusters of three members may cost.
const (
	fleetCPUTarget = 500 * time.Millisecond // of one look at all of them
	fleetRSSTarget = 200                    // MB
	fleetJudged    = 100

	fleetRest   = 20 * time.Second // what came with the start is over
	fleetSpan   = 20 * time.Second
	fleetLooks  = 3
	fleetAtOnce = 8
	fleetLimit  = 5 * time.Minute
)

// fleetInLab measures one cke with more and more clusters of three simulated
// members. It needs no machines.
func fleetInLab(ctx context.Context, o options, _ *lab.Lab) error {
	for _, text := range strings.Split(o.fleet, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 5000 {
			return fmt.Errorf("-fleet says %q, which is no number of clusters", text)
		}
		if err := oneFleet(ctx, o, n); err != nil {
			return fmt.Errorf("%d clusters: %w", n, err)
		}
	}
	return nil
}

func oneFleet(ctx context.Context, o options, clusters int) (err error) {
	name := fmt.Sprintf("fleet-%d", clusters)
	w, err := newWorld(ctx, filepath.Join(o.dir, name), clusters)
	if err != nil {
		return err
	}
	machines, err := w.listen(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machines.close()) }()
	members, err := w.serve()
	if err != nil {
		return err
	}
	defer members.grpc.Stop()
	began := time.Now()
	d, err := startDaemon(ctx, o, name, site{config: "ssh:\n  identity: " + w.login.file + "\n"})
	if err != nil {
		return err
	}
	defer func() { err = d.over(err) }()
	if err := d.allSettled(ctx, clusters); err != nil {
		return err
	}
	fmt.Printf("%5d clusters: all settled %.1f s after the start of cke\n", clusters, time.Since(began).Seconds())
	if err := pause(ctx, fleetRest); err != nil {
		return err
	}
	return d.costs(ctx, clusters)
}

// costs measures what an idle cke takes, and a look at all clusters.
func (d *daemon) costs(ctx context.Context, clusters int) error {
	pid := d.cmd.Process.Pid
	idle, err := watch(ctx, pid, fleetSpan)
	if err != nil {
		return err
	}
	var looks, whole []time.Duration
	for range fleetLooks {
		before, err := usageOf(pid)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := d.everyCluster(ctx, clusters, func(ctx context.Context, name string) error {
			_, err := d.api.Plan(ctx, name)
			return err
		}); err != nil {
			return err
		}
		after, err := usageOf(pid)
		if err != nil {
			return err
		}
		meanwhile := time.Duration(idle.busy / 100 * float64(time.Since(began))) // what it does all the time
		whole = append(whole, after.cpu-before.cpu)
		looks = append(looks, after.cpu-before.cpu-meanwhile)
	}
	look, judged := median(looks), ""
	if clusters == fleetJudged {
		judged = fmt.Sprintf(" (targets at most %d ms and %d MB)", fleetCPUTarget.Milliseconds(), fleetRSSTarget)
	}
	fmt.Printf("%5d clusters: one look at all %d ms of CPU (%d ms with what goes on meanwhile), RSS %.0f MB%s; %.2f ms and %.2f MB for each; idle %.1f %% of a core\n",
		clusters, look.Milliseconds(), median(whole).Milliseconds(), mb(idle.rss), judged, ms(look)/float64(clusters), mb(idle.rss)/float64(clusters), idle.busy)
	return nil
}

// allSettled waits until cke has nothing to do for any cluster.
func (d *daemon) allSettled(ctx context.Context, clusters int) error {
	ctx, cancel := context.WithTimeout(ctx, fleetLimit)
	defer cancel()
	return d.everyCluster(ctx, clusters, func(ctx context.Context, name string) error {
		for {
			s, err := d.api.Status(ctx, name)
			if err == nil && s.Settled {
				return nil
			}
			if pauseErr := pause(ctx, 100*time.Millisecond); pauseErr != nil {
				return fmt.Errorf("wait for %s: %w: %w\n%s", name, pauseErr, err, s.Plan)
			}
		}
	})
}

// everyCluster does something for each cluster, for several at a time.
func (d *daemon) everyCluster(ctx context.Context, clusters int, do func(context.Context, string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fleetAtOnce)
	for n := range clusters {
		g.Go(func() error { return do(ctx, fleetName(n)) })
	}
	return g.Wait()
}
