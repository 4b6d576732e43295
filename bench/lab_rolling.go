package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"cke/test/lab"
)

const (
	rollingPuts  = 500 // a second, and as many gets
	rollingPairs = 3
	// around is how long the load goes on before and after a rolling restart.
	around = time.Second

	// What clients know.
	allEndpoints = "all endpoints"
	oneEndpoint  = "one endpoint each"
)

// rolled is one rolling restart under load.
type rolled struct {
	took time.Duration
	outcome
}

// restart is one way to restart three members, and what its clients connect to.
type restart struct {
	name   order
	roll   func(context.Context) error
	all    []*clientv3.Client // one that knows every member
	pinned []*clientv3.Client // as many as members, each with one address
}

// rollingInLab restarts the three members of two clusters in turn, of CKE's and
// of one that is cared for by hand, under the same load.
func rollingInLab(ctx context.Context, o options, l *lab.Lab) (err error) {
	return withBoth(ctx, o, l, "", func(t *tended, h *hand) (err error) {
		ways, drop, err := restarts(ctx, o, t, h)
		defer func() { err = errors.Join(err, drop()) }()
		if err != nil {
			return err
		}
		for _, kind := range []string{allEndpoints, oneEndpoint} {
			if kind == oneEndpoint { // through a gateway
				t.node = ", gateway: true"
				if err := t.members(ctx, 1, 2, 3); err != nil {
					return err
				}
			}
			if err := rollInTurn(ctx, o, ways, kind); err != nil {
				return err
			}
		}
		return nil
	})
}

// restarts are the ways there are. What is returned closes their clients.
func restarts(ctx context.Context, o options, t *tended, h *hand) (ways []*restart, drop func() error, err error) {
	var closers []func() error
	drop = func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	dial := func(c clientv3.Config) *clientv3.Client {
		c.Logger, c.DialKeepAliveTime, c.DialKeepAliveTimeout = quietLogger(), 2*time.Second, time.Second
		cl, cErr := clientv3.New(c)
		if cErr != nil {
			err = errors.Join(err, cErr)
			return nil
		}
		closers = append(closers, cl.Close)
		return cl
	}
	root, err := rootConfig(ctx, t.d.api)
	if err != nil {
		return nil, drop, err
	}
	cke := &restart{name: byCKE, roll: func(ctx context.Context) error { return t.roll(ctx, o) }, all: []*clientv3.Client{dial(clientv3.Config{Endpoints: t.d.site.endpoints(), TLS: root})}}
	hands := &restart{name: "by hand", roll: h.roll, all: []*clientv3.Client{dial(clientv3.Config{Endpoints: h.endpoints(), TLS: h.root})}}
	for i := range 3 {
		way, err := dialed(ctx, t.l, t.l.Machine(i+1))
		if err != nil {
			return nil, drop, err
		}
		closers = append(closers, way.Close)
		through := grpc.WithContextDialer(func(_ context.Context, addr string) (net.Conn, error) { return way.Dial("tcp", addr) })
		cke.pinned = append(cke.pinned, dial(clientv3.Config{Endpoints: []string{gatewayURL}, TLS: root, DialOptions: []grpc.DialOption{through}}))
		hands.pinned = append(hands.pinned, dial(clientv3.Config{Endpoints: h.endpoints()[i : i+1], TLS: h.root}))
	}
	naive := *hands
	naive.name, naive.roll = "in list order", func(context.Context) error { return h.naive() }
	return []*restart{hands, &naive, cke}, drop, err
}

// gatewayURL is where a client on a machine with a gateway finds the members.
const gatewayURL = "https://127.0.0.1:12379"

func rollInTurn(ctx context.Context, o options, ways []*restart, kind string) error {
	fmt.Printf("clients that know %s, %d puts and %d gets a second, each waits %s\n", kind, rollingPuts, rollingPuts, requestLimit)
	every := map[order][]rolled{}
	for n := range o.times(rollingPairs) {
		for i := range ways {
			w := ways[(i+n)%len(ways)]
			clients := w.all
			if kind == oneEndpoint {
				clients = w.pinned
			}
			r, err := underLoad(ctx, w, clients)
			if err != nil {
				return fmt.Errorf("pair %d, %s: %w", n+1, w.name, err)
			}
			fmt.Printf("%2d %-13s %5d ms: %s\n", n+1, w.name, r.took.Milliseconds(), r.outcome)
			if o.v {
				fmt.Printf("      puts: %s\n      gets: %s\n", r.puts.errors(r.began), r.gets.errors(r.began))
			}
			every[w.name] = append(every[w.name], r)
		}
	}
	for _, w := range ways {
		summarizeRolled(w.name, every[w.name])
	}
	var ratios []float64
	for n, r := range every[byCKE] {
		ratios = append(ratios, float64(r.took)/float64(every["by hand"][n].took))
	}
	fmt.Printf("median ratio of cke to by hand: %.2f (target at most %.1f)\n", median(ratios), ratioTarget)
	return nil
}

// underLoad restarts the members once while clients go on.
func underLoad(ctx context.Context, w *restart, clients []*clientv3.Client) (r rolled, err error) {
	for _, c := range clients { // connected before it counts
		if _, err := c.Get(ctx, "/bench", clientv3.WithCountOnly()); err != nil {
			return r, err
		}
	}
	load := drive(ctx, clients, rollingPuts, rollingPuts)
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
	fmt.Printf("%-13s median %5d ms; of %d: failed puts %d, gets %d; longest stall of puts %d ms, gets %d ms; median p99 of puts %d ms, gets %d ms\n",
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
