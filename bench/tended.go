package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"cke/internal/api"
	"cke/internal/record"
	"cke/test/lab"
)

// tended is a cluster on some of a lab's machines that CKE tends: which of them
// carry members is the wanted spec's to say, again and again.
type tended struct {
	d        *daemon
	l        *lab.Lab
	etcd     *clientv3.Client        // as root
	keys     map[*lab.Machine]string // of the hosts, dead ones too
	node     string                  // what each node's line says besides
	tail     string                  // of cluster.yml, after the nodes
	revision int64                   // of the spec that was put last
	edition  int                     // of the flags that a rolling restart brings
}

// tend starts a cke and has it found a cluster on machines 1, 2 and 3.
func tend(ctx context.Context, o options, l *lab.Lab, name, config, node, tail string) (_ *tended, err error) {
	s := site{config: "ssh:\n  identity: " + l.KeyFile() + "\n" + config}
	for i := range 3 {
		s.addresses = append(s.addresses, l.Machine(i+1).Addr().String())
	}
	t := &tended{l: l, keys: map[*lab.Machine]string{}, node: node, tail: tail}
	for _, m := range l.Machines() {
		if t.keys[m], err = m.HostKeyFingerprint(ctx); err != nil {
			return nil, err
		}
	}
	if t.d, err = startDaemon(ctx, o, name, s); err != nil {
		return nil, err
	}
	if err := t.begin(ctx); err != nil {
		return nil, t.over(err)
	}
	return t, nil
}

func (t *tended) begin(ctx context.Context) error {
	if err := t.members(ctx, 1, 2, 3); err != nil {
		return err
	}
	root, err := rootConfig(ctx, t.d.api)
	if err != nil {
		return err
	}
	t.etcd, err = clientv3.New(clientv3.Config{Endpoints: t.d.site.endpoints(), TLS: root, Logger: quietLogger()})
	return err
}

// over ends cke, and tells why it failed if it did. The members go on.
func (t *tended) over(err error) error {
	if t.etcd != nil {
		err = errors.Join(err, t.etcd.Close())
	}
	return t.d.over(err)
}

func (t *tended) address(i int) string { return t.l.Machine(i).Addr().String() }

// put sets a cluster of these machines.
func (t *tended) put(ctx context.Context, nodes ...int) error {
	var b strings.Builder
	b.WriteString("name: bench\nnodes:\n")
	for _, i := range nodes {
		m := t.l.Machine(i)
		fmt.Fprintf(&b, "  - {address: %s, hostname: %s, control_plane: true, user: root, host_key: %q%s}\n", m.Addr(), m.Name(), t.keys[m], t.node)
	}
	change, err := t.d.api.PutSpec(ctx, "cluster.yml", []byte(b.String()+t.tail))
	if err == nil {
		t.revision = change.Revision
	}
	return err
}

// members sets a cluster of these machines and waits until it is settled.
func (t *tended) members(ctx context.Context, nodes ...int) error {
	if err := t.put(ctx, nodes...); err != nil {
		return err
	}
	return t.settled(ctx, nodes...)
}

func (t *tended) settled(ctx context.Context, nodes ...int) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return t.d.until(ctx, func(s api.Status) bool {
		return s.Settled && s.SpecRevision >= t.revision && len(s.Nodes) == len(nodes) && !slices.ContainsFunc(nodes, func(i int) bool {
			return !slices.ContainsFunc(s.Nodes, func(n api.NodeStatus) bool { return string(n.Hostname) == t.l.Machine(i).Name() })
		})
	})
}

// promoted waits until etcd counts the member on the last of these machines among the
// voters. The others are asked: a connection to a machine that died says nothing, and
// is found out late.
func (t *tended) promoted(ctx context.Context, carry ...int) (time.Time, error) {
	i := carry[len(carry)-1]
	t.etcd.SetEndpoints(t.endpointsBut(carry, i)...)
	url := "https://" + net.JoinHostPort(t.address(i), "2380")
	var at time.Time
	err := poll(ctx, func(ctx context.Context) bool {
		list, err := t.etcd.MemberList(ctx)
		if err != nil {
			return false // asked again at once
		}
		at = time.Now()
		for _, m := range list.Members {
			if !m.IsLearner && slices.Contains(m.PeerURLs, url) {
				return true
			}
		}
		return false
	})
	return at, err
}

// records are those since a moment, the oldest first.
func (t *tended) records(ctx context.Context, since time.Time) ([]record.Record, error) {
	all, err := t.d.api.History(ctx, "bench", 100)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r record.Record) bool { return r.Step == nil || r.At.Before(since) }), nil
}

func quietLogger() *zap.Logger { return zap.NewNop() }
