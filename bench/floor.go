package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// limit bounds one bootstrap; a longer one is a failure, not a figure.
const limit = 2 * time.Minute

// parts is one measured run, cut where something became true.
type parts struct {
	names []string
	spans []time.Duration
	last  time.Time
}

func (p *parts) start() { p.last = time.Now() }

func (p *parts) done(name string) {
	now := time.Now()
	p.names, p.spans = append(p.names, name), append(p.spans, now.Sub(p.last))
	p.last = now
}

func (p *parts) total() (sum time.Duration) {
	for _, s := range p.spans {
		sum += s
	}
	return sum
}

func (p *parts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%5d ms =", p.total().Milliseconds())
	for i, n := range p.names {
		fmt.Fprintf(&b, " %s %d", n, p.spans[i].Milliseconds())
	}
	return b.String()
}

// floor makes one cluster by hand: certificates are ready, and the clock runs
// from the first process to a write through each member with auth on.
func floor(ctx context.Context, o options, n int, how order) (p parts, flags []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	h := &handMade{dir: filepath.Join(o.dir, fmt.Sprintf("floor-%d", n)), net: network(n, 0)}
	if err := h.prepare(); err != nil {
		return p, nil, err
	}
	defer func() { err = errors.Join(err, h.stop()) }()

	p.start()
	if err := h.start(ctx, filepath.Join(o.bin, "etcd"), how); err != nil {
		return p, nil, err
	}
	p.done("start")
	err = finishByHand(ctx, h.endpoints(), h.root, &p)
	return p, h.flags(0), err
}

// finishByHand turns authentication on in a cluster that was started, and writes
// through each member.
func finishByHand(ctx context.Context, endpoints []string, root *tls.Config, p *parts) (err error) {
	cs, err := connect(endpoints, root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cs.close()) }()
	if err := cs[:1].serving(ctx); err != nil {
		return fmt.Errorf("wait for quorum: %w", err)
	}
	p.done("first-quorum")
	if err := setUpAuth(ctx, cs[0]); err != nil {
		return err
	}
	p.done("auth")
	if err := cs.write(ctx); err != nil {
		return fmt.Errorf("write through each member: %w", err)
	}
	p.done("writes")
	return cs.authOn(ctx)
}

// network gives each run addresses of its own, so that no port waits for
// another run's connections.
func network(n, side int) string { return fmt.Sprintf("127.%d.%d", 91+side, n+1) }

func floors(ctx context.Context, o options) error {
	took := map[order][]time.Duration{}
	for n := range o.times(foundingPairs) {
		for _, how := range []order{atOnce, oneFirst} {
			p, _, err := floor(ctx, o, n, how)
			if err != nil {
				return fmt.Errorf("floor, %s: %w", how, err)
			}
			fmt.Printf("%2d floor %-9s %s\n", n+1, how, &p)
			took[how] = append(took[how], p.total())
		}
	}
	for _, how := range []order{atOnce, oneFirst} {
		fmt.Printf("median floor %-9s %5d ms\n", how, median(took[how]).Milliseconds())
	}
	return nil
}
