package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"cke/internal/cluster"
	"cke/internal/gateway"
	"cke/test/lab"
)

const (
	byPersonWithdrawn order = "by hand, withdrawn"

	floorGateway = "/opt/floor/cke-host"
	floorList    = "/etc/floor/gateway.json"
	floorState   = "/run/floor-gateway.sock"
	// gatewayURL is where a client on a machine with a gateway finds the members.
	gatewayURL = "https://127.0.0.1:12379"
)

// pinnedInLab restarts the members under clients of which each knows one address:
// a member's own, or that of the gateway on its machine.
func pinnedInLab(ctx context.Context, o options, l *lab.Lab) error {
	return withBoth(ctx, o, l, ", gateway: true", func(t *tended, h *hand) (err error) {
		var d dialer
		defer func() { err = errors.Join(err, d.close()) }()
		if err := h.lead(ctx, o); err != nil {
			return err
		}
		root, err := rootConfig(ctx, t.d.api)
		if err != nil {
			return err
		}
		var direct, led, ofCKE []*clientv3.Client
		for i, m := range h.machines {
			own, oErr := d.dial(clientv3.Config{Endpoints: []string{clientURL(m)}, TLS: h.root})
			through, tErr := d.through(h.ways[m], clientv3.Config{TLS: h.root})
			way, wErr := dialed(ctx, t.l, t.l.Machine(i+1))
			if err := errors.Join(oErr, tErr, wErr); err != nil {
				return err
			}
			d.closers = append(d.closers, way.Close)
			cke, err := d.through(way, clientv3.Config{TLS: root})
			if err != nil {
				return err
			}
			direct, led, ofCKE = append(direct, own), append(led, through), append(ofCKE, cke)
		}
		return rollInTurn(ctx, o, "one endpoint each", []*restart{
			{byPerson, h.roll, direct},
			{inListOrder, func(context.Context) error { return h.naive() }, direct},
			{byPersonWithdrawn, h.rollWithdrawn, led},
			{byCKE, func(ctx context.Context) error { return t.roll(ctx, o) }, ofCKE},
		})
	})
}

// through makes a client on a machine, which knows the gateway there.
func (d *dialer) through(way *ssh.Client, c clientv3.Config) (*clientv3.Client, error) {
	c.Endpoints = []string{gatewayURL}
	c.DialOptions = []grpc.DialOption{grpc.WithContextDialer(func(_ context.Context, addr string) (net.Conn, error) { return way.Dial("tcp", addr) })}
	return d.dial(c)
}

// lead gives each machine of the cluster by hand a gateway to its members.
func (h *hand) lead(ctx context.Context, o options) error {
	if err := h.copyTo(ctx, filepath.Join(o.bin, "cke-host"), floorGateway, h.machines); err != nil {
		return err
	}
	list, err := json.Marshal(h.gateway(nil))
	if err != nil {
		return err
	}
	for _, m := range h.machines {
		if err := h.sh(m, fmt.Sprintf("printf %%s '%[1]s' >%[2]s && systemd-run --quiet --collect --unit floor-gateway --property Type=notify %[3]s gateway --list %[2]s --state %[4]s",
			list, floorList, floorGateway, floorState)); err != nil {
			return err
		}
	}
	return nil
}

// gateway is the list, with one member that is about to be restarted, or none.
func (h *hand) gateway(restarting *lab.Machine) cluster.Gateway {
	g := cluster.Gateway{Cluster: "floor", Port: cluster.DefaultGatewayPort}
	for _, m := range h.machines {
		g.Upstreams = append(g.Upstreams, cluster.Upstream{
			Node: cluster.NodeName(m.Name()), Address: netip.AddrPortFrom(m.Addr(), cluster.ClientPort),
			Draining: m == restarting, Restarting: m == restarting,
		})
	}
	return g
}

// withdraw has every gateway send nobody to a member any more, all at once.
func (h *hand) withdraw(ctx context.Context, m *lab.Machine) error {
	want := h.gateway(m)
	text, err := json.Marshal(want)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("printf %%s '%[1]s' >%[2]s.new && mv %[2]s.new %[2]s && systemctl kill -s HUP floor-gateway", text, floorList)
	var g errgroup.Group
	for _, on := range h.machines {
		g.Go(func() error { return errors.Join(h.sh(on, line), h.follows(ctx, on, want)) })
	}
	return g.Wait()
}

// follows returns once a machine's gateway goes by a list.
func (h *hand) follows(ctx context.Context, on *lab.Machine, want cluster.Gateway) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		conn, err := h.ways[on].Dial("unix", floorState)
		if err != nil {
			return fmt.Errorf("ask the gateway on %s: %w", on.Name(), err)
		}
		text, err := io.ReadAll(conn)
		var s gateway.State
		if err = errors.Join(err, conn.Close()); err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil {
			return fmt.Errorf("ask the gateway on %s: %w", on.Name(), err)
		}
		if slices.Equal(s.Gateway.Upstreams, want.Upstreams) {
			return nil
		}
		if err := pause(ctx, retryEvery); err != nil {
			return fmt.Errorf("wait for the gateway on %s: %w", on.Name(), err)
		}
	}
}

// rollWithdrawn restarts as roll does, with the same care that CKE takes: nobody
// is sent to a member any more before it is stopped.
func (h *hand) rollWithdrawn(ctx context.Context) error {
	if err := h.inTurn(ctx, func(m *lab.Machine) error { return h.withdraw(ctx, m) }); err != nil {
		return err
	}
	return h.withdraw(ctx, nil)
}
