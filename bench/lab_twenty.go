package main

import (
	"context"
	"errors"
	"fmt"
	"time"

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
// one question that a look asks it. All are asked one at a time: a machine that
// shares two cores with nineteen others is slower when all are asked.
func looks(ctx context.Context, o options, d *daemon, l *lab.Lab, when string) (err error) {
	var every []*remote.Hosts
	defer func() {
		for _, h := range every {
			err = errors.Join(err, h.Close())
		}
	}()
	do := []func() error{func() error {
		_, err := d.api.Plan(ctx, "bench")
		return err
	}}
	for _, m := range l.Machines() {
		hosts, h, err := reached(ctx, o, d, l, m)
		if err != nil {
			return err
		}
		every = append(every, hosts)
		do = append(do, asks(ctx, h, m))
	}
	took, err := inTurn(lookPairs, do...)
	if err != nil {
		return err
	}
	slowest := took[1]
	for _, t := range took[2:] {
		slowest = max(slowest, t)
	}
	fmt.Printf("%s: median look %.2f ms, slowest machine's median answer %.2f ms, ratio %.2f (target at most %.1f)\n",
		when, ms(took[0]), ms(slowest), float64(took[0])/float64(slowest), lookTarget)
	return nil
}

func asks(ctx context.Context, h host.Host, m *lab.Machine) func() error {
	return func() error {
		_, err := h.Facts(ctx, "bench", m.Addr())
		return err
	}
}
