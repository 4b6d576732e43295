package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"cke/internal/api"
	"cke/internal/cluster"
)

// compare measures CKE and the floor on this machine's loopback.
func compare(ctx context.Context, o options) error {
	return alternate(ctx, o.times(foundingPairs), []way{
		{name: atOnce, run: func(ctx context.Context, n int) (parts, []string, error) { return floor(ctx, o, n, atOnce) }},
		{name: oneFirst, run: func(ctx context.Context, n int) (parts, []string, error) { return floor(ctx, o, n, oneFirst) }},
		{name: byCKE, cke: true, run: func(ctx context.Context, n int) (parts, []string, error) { return bootstrap(ctx, o, n) }},
	})
}

// byCKE is a bootstrap that is not by hand.
const byCKE order = "cke"

// bootstrap makes one cluster with CKE on loopback. It returns a member's flags
// as well.
func bootstrap(ctx context.Context, o options, n int) (p parts, flags []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d, err := startDaemon(ctx, o, fmt.Sprintf("cke-%d", n), onLoopback(network(n, 1)))
	if err != nil {
		return p, nil, err
	}
	defer func() { err = d.over(err) }()
	if p, err = d.found(ctx, o.v); err != nil {
		return p, nil, err
	}
	flags, err = d.memberFlags()
	return p, flags, err
}

// found has the daemon make its cluster. The daemon runs and has nothing to do;
// the clock runs from `cluster set` to a write through each member with auth on.
func (d *daemon) found(ctx context.Context, v bool) (p parts, err error) {
	p.start()
	if _, err := d.api.PutSpec(ctx, "cluster.yml", d.site.spec); err != nil {
		return p, fmt.Errorf("set cluster: %w", err)
	}
	p.done("set")
	err = d.until(ctx, func(s api.Status) bool { return s.Phase == cluster.PhaseBootstrapped && s.AuthOn })
	if err != nil {
		return p, fmt.Errorf("wait for bootstrap: %w", err)
	}
	p.done("bootstrapped")
	root, err := rootConfig(ctx, d.api)
	if err != nil {
		return p, err
	}
	p.done("issue")
	cs, err := connect(d.site.endpoints(), root)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, cs.close()) }()
	if err := cs.write(ctx); err != nil {
		return p, fmt.Errorf("write through each member: %w", err)
	}
	p.done("writes")
	if err := d.history(ctx, v); err != nil {
		return p, err
	}
	return p, cs.authOn(ctx)
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

// history prints what CKE recorded and logged, with the time each step took.
func (d *daemon) history(ctx context.Context, v bool) error {
	if !v {
		return nil
	}
	records, err := d.api.History(ctx, "bench", 100)
	for _, r := range records {
		fmt.Println("    ", r)
	}
	raw, readErr := os.ReadFile(d.log.Name())
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, "took_ms") {
			fmt.Print("     ", line)
		}
	}
	return errors.Join(err, readErr)
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
