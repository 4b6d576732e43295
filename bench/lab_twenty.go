package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"cke/internal/host"
	"cke/internal/host/remote"
	"cke/test/lab"
)

// What twenty machines may cost.
const (
	twentyCPUTarget = 2.0 // percent of one core
	lookTarget      = 1.5 // times the slowest machine's answer
	lookPairs       = 15
)

// twentyMachines measures an idle cke and its looks with twenty machines,
// members on five.
func twentyMachines(ctx context.Context, o options, l *lab.Lab) error {
	return withCluster(ctx, o, l, "members: 5", "", func(d *daemon) error {
		if err := pause(ctx, 10*time.Second); err != nil { // what came with the founding is over
			return err
		}
		used, err := watch(ctx, d.cmd.Process.Pid, o.span)
		if err != nil {
			return err
		}
		fmt.Printf("idle, %d machines, over %s: CPU %.2f %% of a core (target at most %.0f %%), RSS %.0f MB\n",
			len(l.Machines()), o.span, used.busy, twentyCPUTarget, mb(used.rss))
		if err := looks(ctx, o, d, l, "no machine is slow"); err != nil {
			return err
		}
		last := l.Machine(len(l.Machines()))
		slow := lab.Delay(last, 100*time.Millisecond, 0) //nolint:contextcheck // what it did is undone whoever gave up
		if err := slow.Break(); err != nil {
			return errors.Join(err, slow.Heal())
		}
		return errors.Join(looks(ctx, o, d, l, slow.Name), slow.Heal())
	})
}

// looks compares a look at everything with the slowest machine's answer to the
// one question that a look asks each. A machine that shares two cores with
// nineteen others is slower when all are asked, as a look does, so that is what
// counts; what it takes when it is asked alone is printed too.
func looks(ctx context.Context, o options, d *daemon, l *lab.Lab, when string) (err error) {
	var every []*remote.Hosts
	defer func() {
		for _, h := range every {
			err = errors.Join(err, h.Close())
		}
	}()
	var alone []func() error
	for _, m := range l.Machines() {
		hosts, h, err := reached(ctx, o, d, l, m)
		if err != nil {
			return err
		}
		every = append(every, hosts)
		alone = append(alone, asks(ctx, h, m))
	}
	look := func() error {
		_, err := d.api.Plan(ctx, "bench")
		return err
	}
	together := func() error {
		var g errgroup.Group
		for _, ask := range alone {
			g.Go(ask)
		}
		return g.Wait()
	}
	before, err := usageOf(d.cmd.Process.Pid)
	if err != nil {
		return err
	}
	took, err := inTurn(lookPairs, append([]func() error{look, together}, alone...)...)
	if err != nil {
		return err
	}
	after, err := usageOf(d.cmd.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Printf("%s: cke itself works for %.1f ms in a look\n", when, ms(after.cpu-before.cpu)/(lookPairs+1))
	fmt.Printf("%s: median look %.2f ms; the slowest machine's answer, all asked at once, %.2f ms: ratio %.2f (target at most %.1f); alone %.2f ms: ratio %.2f\n",
		when, ms(took[0]), ms(took[1]), float64(took[0])/float64(took[1]), lookTarget,
		ms(slices.Max(took[2:])), float64(took[0])/float64(slices.Max(took[2:])))
	return nil
}

func asks(ctx context.Context, h host.Host, m *lab.Machine) func() error {
	return func() error {
		_, err := h.Facts(ctx, "bench", m.Addr())
		return err
	}
}
