package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
)

// ratioTarget is the largest median of cke/floor we want to see.
const ratioTarget = 1.3

// compare runs floor and CKE in turn, in another order each time, so that none
// always finds the warmer machine.
func compare(ctx context.Context, o options) error {
	took := map[order][]time.Duration{}
	ratios := map[order][]float64{}
	for n := range o.pairs {
		spans, err := pair(ctx, o, n)
		if err != nil {
			return fmt.Errorf("pair %d: %w", n+1, err)
		}
		for how, span := range spans {
			took[how] = append(took[how], span)
			ratios[how] = append(ratios[how], float64(spans[byCKE])/float64(span))
		}
	}
	fmt.Printf("median cke %d ms\n", median(took[byCKE]).Milliseconds())
	for _, how := range []order{atOnce, oneFirst} {
		fmt.Printf("median floor %-9s %5d ms, ratio %.2f (target at most %.1f)\n",
			how, median(took[how]).Milliseconds(), median(ratios[how]), ratioTarget)
	}
	return nil
}

// byCKE is a bootstrap that is not by hand.
const byCKE order = "cke"

// pair measures each way once and prints it.
func pair(ctx context.Context, o options, n int) (map[order]time.Duration, error) {
	spans := map[order]time.Duration{}
	flags := map[order][]string{}
	ways := []order{atOnce, oneFirst, byCKE}
	for i := range ways {
		how := ways[(i+n)%len(ways)]
		var p parts
		var err error
		if how == byCKE {
			p, flags[how], err = bootstrap(ctx, o, n)
		} else {
			p, flags[how], err = floor(ctx, o, n, how)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", how, err)
		}
		spans[how] = p.total()
		fmt.Printf("%2d %-9s %s\n", n+1, how, &p)
	}
	fmt.Printf("   ratio to at once %.2f, to one first %.2f\n",
		float64(spans[byCKE])/float64(spans[atOnce]), float64(spans[byCKE])/float64(spans[oneFirst]))
	if n == 0 {
		for _, d := range compareFlags(flags[byCKE], flags[atOnce]) {
			fmt.Println("   flags differ:", d)
		}
	}
	return spans, nil
}

// bootstrap makes one cluster with CKE: the daemon runs and has nothing to do,
// and the clock runs from `cluster set` to a write through each member with
// auth on. It returns a member's flags as well.
func bootstrap(ctx context.Context, o options, n int) (p parts, flags []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d, err := startDaemon(ctx, o, n)
	if err != nil {
		return p, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.explain())
		}
		err = errors.Join(err, d.stop())
	}()

	p.start()
	if _, err := d.api.PutSpec(ctx, "cluster.yml", d.spec()); err != nil {
		return p, nil, fmt.Errorf("set cluster: %w", err)
	}
	p.done("set")
	err = d.until(ctx, func(s api.Status) bool { return s.Phase == cluster.PhaseBootstrapped && s.AuthOn })
	if err != nil {
		return p, nil, fmt.Errorf("wait for bootstrap: %w", err)
	}
	p.done("bootstrapped")
	root, err := rootConfig(ctx, d.api)
	if err != nil {
		return p, nil, err
	}
	p.done("issue")
	cs, err := connect(d.endpoints(), root)
	if err != nil {
		return p, nil, err
	}
	defer func() { err = errors.Join(err, cs.close()) }()
	if err := cs.write(ctx); err != nil {
		return p, nil, fmt.Errorf("write through each member: %w", err)
	}
	p.done("writes")
	if err := d.history(ctx, o.v); err != nil {
		return p, nil, err
	}
	if flags, err = d.memberFlags(); err != nil {
		return p, nil, err
	}
	return p, flags, cs.authOn(ctx)
}

func rootConfig(ctx context.Context, c *api.Client) (*tls.Config, error) {
	cert, err := c.IssueRoot(ctx, "bench")
	if err != nil {
		return nil, fmt.Errorf("issue root certificate: %w", err)
	}
	pair, err := tls.X509KeyPair([]byte(cert.Certificate), []byte(cert.PrivateKey))
	if err != nil {
		return nil, fmt.Errorf("read root certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(cert.CACertificate)) {
		return nil, errors.New("read server CA: no certificate in it")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

// history prints what CKE recorded, with the time each step took.
func (d *daemon) history(ctx context.Context, v bool) error {
	if !v {
		return nil
	}
	records, err := d.api.History(ctx, "bench", 100)
	for _, r := range records {
		fmt.Println("    ", r)
	}
	return err
}

func (d *daemon) memberFlags() ([]string, error) {
	members, err := membersUnder(d.dir)
	if err != nil {
		return nil, err
	}
	if len(members) != 3 {
		return nil, fmt.Errorf("%d members run, not 3", len(members))
	}
	return members[0].argv[1:], nil
}

// median of an even number is the upper of the middle two.
func median[T time.Duration | float64](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
