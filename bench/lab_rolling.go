package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/test/lab"
)

const (
	rollingPuts  = 500 // a second, and as many gets
	rollingPairs = 3
	// around is how long the load goes on before and after a rolling restart.
	around = time.Second

	byPerson    order = "by hand"
	inListOrder order = "in list order"
)

// rolled is one rolling restart under load.
type rolled struct {
	took time.Duration
	outcome
}

// restart is one way to restart three members, and the clients it is done under.
type restart struct {
	name    order
	roll    func(context.Context) error
	clients []*clientv3.Client
}

// rollingInLab restarts the three members of two clusters in turn, of CKE's and
// of one that is cared for by hand, under the same load.
func rollingInLab(ctx context.Context, o options, l *lab.Lab) error {
	return withBoth(ctx, o, l, "", func(t *tended, h *hand) (err error) {
		var d dialer
		defer func() { err = errors.Join(err, d.close()) }()
		root, err := rootConfig(ctx, t.d.api)
		if err != nil {
			return err
		}
		ofHand, err := d.dial(clientv3.Config{Endpoints: h.endpoints(), TLS: h.root})
		if err != nil {
			return err
		}
		ofCKE, err := d.dial(clientv3.Config{Endpoints: t.d.site.endpoints(), TLS: root})
		if err != nil {
			return err
		}
		return rollInTurn(ctx, o, "all endpoints", []*restart{
			{byPerson, h.roll, []*clientv3.Client{ofHand}},
			{inListOrder, func(context.Context) error { return h.naive() }, []*clientv3.Client{ofHand}},
			{byCKE, func(ctx context.Context) error { return t.roll(ctx, o) }, []*clientv3.Client{ofCKE}},
		})
	})
}

// dialer makes clients and closes them.
type dialer struct{ closers []func() error }

func (d *dialer) dial(c clientv3.Config) (*clientv3.Client, error) {
	c.Logger, c.DialKeepAliveTime, c.DialKeepAliveTimeout = quietLogger(), 2*time.Second, time.Second
	cl, err := clientv3.New(c)
	if err == nil {
		d.closers = append(d.closers, cl.Close)
	}
	return cl, err
}

func (d *dialer) close() error {
	var errs []error
	for _, c := range d.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

func rollInTurn(ctx context.Context, o options, known string, ways []*restart) error {
	fmt.Printf("clients that know %s, %d puts and %d gets a second, each waits %s\n", known, rollingPuts, rollingPuts, requestLimit)
	every := map[order][]rolled{}
	for n := range o.times(rollingPairs) {
		for i := range ways {
			w := ways[(i+n)%len(ways)]
			if w.name == inListOrder && n >= rollingPairs {
				continue // it takes longest, and nothing is held against it
			}
			r, err := underLoad(ctx, w)
			if err != nil {
				return fmt.Errorf("pair %d, %s: %w", n+1, w.name, err)
			}
			fmt.Printf("%2d %-18s %5d ms: %s\n", n+1, w.name, r.took.Milliseconds(), r.outcome)
			if o.v {
				fmt.Printf("      puts: %s\n      gets: %s\n", r.puts.errors(r.began), r.gets.errors(r.began))
			}
			every[w.name] = append(every[w.name], r)
		}
	}
	for _, w := range ways {
		summarizeRolled(w.name, every[w.name])
	}
	for _, w := range ways {
		if w.name != byCKE && w.name != inListOrder {
			printRatio(w.name, every[byCKE], every[w.name])
		}
	}
	return nil
}

func printRatio(name order, cke, floor []rolled) {
	var ratios []float64
	for n, r := range cke {
		ratios = append(ratios, float64(r.took)/float64(floor[n].took))
	}
	fmt.Printf("median ratio of cke to %s: %.2f (target at most %.1f)\n", name, median(ratios), ratioTarget)
}

// underLoad restarts the members once while clients go on.
func underLoad(ctx context.Context, w *restart) (r rolled, err error) {
	for _, c := range w.clients { // connected before it counts
		if _, err := c.Get(ctx, "/bench", clientv3.WithCountOnly()); err != nil {
			return r, err
		}
	}
	load := drive(ctx, w.clients, rollingPuts, rollingPuts)
	err = pause(ctx, around)
	began := time.Now()
	if err == nil {
		err = w.roll(ctx)
	}
	r.took = time.Since(began)
	if err == nil {
		err = pause(ctx, around)
	}
	var loadErr error
	r.outcome, loadErr = load.end()
	if err = errors.Join(err, loadErr); err == nil && r.seen == 0 {
		err = errors.New("the watch saw no event")
	}
	return r, err
}

func summarizeRolled(name order, all []rolled) {
	var took, p99Puts, p99Gets []time.Duration
	var puts, gets int
	var stallPuts, stallGets time.Duration
	for _, r := range all {
		took, p99Puts, p99Gets = append(took, r.took), append(p99Puts, r.puts.p99()), append(p99Gets, r.gets.p99())
		puts, gets = puts+len(r.puts.failed), gets+len(r.gets.failed)
		stallPuts, stallGets = max(stallPuts, r.puts.longest()), max(stallGets, r.gets.longest())
	}
	fmt.Printf("%-18s median %5d ms; of %d: failed puts %d, gets %d; longest stall of puts %d ms, gets %d ms; median p99 of puts %d ms, gets %d ms\n",
		name, median(took).Milliseconds(), len(all), puts, gets, stallPuts.Milliseconds(), stallGets.Milliseconds(),
		median(p99Puts).Milliseconds(), median(p99Gets).Milliseconds())
}

// roll has CKE restart the three members, by a flag that changes nothing else.
func (t *tended) roll(ctx context.Context, o options) error {
	before, err := t.processes(ctx, 1, 2, 3)
	if err != nil {
		return err
	}
	t.edition++
	t.tail = rollingTail(t.edition)
	began := time.Now()
	if err := t.members(ctx, 1, 2, 3); err != nil {
		return err
	}
	if err := t.tellSince(ctx, o, began); err != nil {
		return err
	}
	after, err := t.processes(ctx, 1, 2, 3)
	if err != nil {
		return err
	}
	for m, pid := range before {
		if after[m] == pid {
			return fmt.Errorf("cke says that all is settled, and the member on %s was not restarted", m)
		}
	}
	return nil
}

func rollingTail(edition int) string {
	return fmt.Sprintf("etcd: {extra_args: {max-request-bytes: %q}}\n", fmt.Sprint(1572864+edition)) + roomyPreflight
}

// processes are the numbers of etcd's processes on these machines.
func (t *tended) processes(ctx context.Context, nodes ...int) (map[string]string, error) {
	all := map[string]string{}
	for _, i := range nodes {
		m := t.l.Machine(i)
		out, err := m.Exec(ctx, "pidof", "etcd")
		if err != nil {
			return nil, err
		}
		all[m.Name()] = strings.TrimSpace(out)
	}
	return all, nil
}
