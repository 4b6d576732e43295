package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/test/kube/k8s"
	"cke/test/lab"
)

const (
	kubeMachines = 4 // three members and one more, to replace them by in turn
	kubeTimes    = 20
	pollEvery    = 10 * time.Millisecond
	// A file that begins with a brace is read as JSON.
	bookPolicy = `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],"rules":[{"level":"Metadata","users":["cke"]},{"level":"None"}]}`
)

// kubernetes is a real control plane whose etcd are the members that it is told
// of.
type kubernetes struct {
	*k8s.Plane
	d     *daemon
	l     *lab.Lab
	c     *k8s.Client
	etcd  *clientv3.Client // as root
	names *net.Resolver
	audit string // what user cke asked for
	head  string // of cluster.yml, up to the nodes
	tail  string // and after them
}

// inKubernetes measures how soon Kubernetes and its DNS know of members that die
// and come, and what CKE asks of the API server when nothing happens.
func inKubernetes(ctx context.Context, o options) (err error) {
	l, err := lab.Open(kubeMachines) //nolint:contextcheck // a lab that was begun is made or taken down whole
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	k := &kubernetes{l: l, audit: filepath.Join(o.dir, "audit.log")}
	if err := k.start(ctx, o); err != nil {
		return errors.Join(err, k.stop())
	}
	for _, measure := range []func(context.Context) error{
		k.deaths, k.promotions, func(ctx context.Context) error { return k.quiet(ctx, o.span) },
	} {
		if err = measure(ctx); err != nil {
			break
		}
	}
	return errors.Join(err, k.stop())
}

func (k *kubernetes) start(ctx context.Context, o options) (err error) {
	s, err := inLab(ctx, k.l, "quota: 256MiB")
	if err != nil {
		return err
	}
	k.head, k.tail = "name: bench\nnodes:\n", "etcd: {quota: 256MiB}\npreflight: {min_free: 100MiB, max_fsync: 10s}\n"
	s.config += "interval: 2s\n"
	if k.d, err = startDaemon(ctx, o, "cke-kube", s); err != nil {
		return err
	}
	if err := k.members(ctx, 1, 2, 3); err != nil {
		return err
	}
	config, err := rootConfig(ctx, k.d.api)
	if err != nil {
		return err
	}
	if k.etcd, err = clientv3.New(clientv3.Config{Endpoints: s.endpoints(), TLS: config, Logger: quietLogger()}); err != nil {
		return err
	}
	if err := k.serve(ctx, o, s); err != nil {
		return err
	}
	return k.publish(ctx)
}

// serve starts the API server, as a tenant, with an audit of what CKE asks.
func (k *kubernetes) serve(ctx context.Context, o options, s site) (err error) {
	if k.Plane, err = k8s.New(filepath.Join(o.dir, "k8s"), o.bin, k.l.Box().Addr()); err != nil {
		return err
	}
	if k.c, err = k.Client(); err != nil {
		return err
	}
	cert, err := k.d.api.Issue(ctx, "bench", "kube-apiserver", 24*time.Hour)
	if err != nil {
		return err
	}
	e := k8s.Etcd{Servers: s.endpoints()}
	policy := ""
	for _, f := range []struct {
		name, text string
		path       *string
	}{{"etcd-ca.crt", cert.CACertificate, &e.CA}, {"etcd.crt", cert.Certificate, &e.Cert}, {"etcd.key", cert.PrivateKey, &e.Key}, {"policy.yml", bookPolicy, &policy}} {
		*f.path = filepath.Join(k.Dir(), f.name)
		if err := os.WriteFile(*f.path, []byte(f.text), 0o600); err != nil {
			return err
		}
	}
	_, err = k.StartAPIServer(ctx, e, "--audit-policy-file="+policy, "--audit-log-path="+k.audit)
	return err
}

// publish tells CKE of the API server, and starts the name server.
func (k *kubernetes) publish(ctx context.Context) error {
	manifests, err := k.d.api.Manifests(ctx, "bench", api.Subject{User: "cke"})
	if err != nil {
		return err
	}
	if _, err := k.Kubectl(ctx, string(manifests), "apply", "-f", "-"); err != nil {
		return err
	}
	config, err := k.Kubeconfig("cke")
	if err != nil {
		return err
	}
	k.tail += "kubernetes: {kubeconfig: " + config + "}\n"
	if err := k.members(ctx, 1, 2, 3); err != nil {
		return err
	}
	addr := k.l.Box().Addr()
	if _, err := k.StartCoreDNS(ctx, addr); err != nil {
		return err
	}
	k.names = k8s.Resolver(addr)
	_, _, err = k.since(ctx, time.Now(), k.address(3), true)
	return err
}

func (k *kubernetes) stop() error {
	var err error
	if k.etcd != nil {
		err = k.etcd.Close()
	}
	if k.Plane != nil {
		k.Close()
	}
	if k.d != nil {
		err = errors.Join(err, k.d.stop())
	}
	return err
}

func (k *kubernetes) address(i int) string { return k.l.Machine(i).Addr().String() }

// put sets a cluster of these machines.
func (k *kubernetes) put(ctx context.Context, nodes ...int) error {
	var b strings.Builder
	for _, i := range nodes {
		m := k.l.Machine(i)
		key, err := m.HostKeyFingerprint(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "  - {address: %s, hostname: %s, control_plane: true, user: root, host_key: %q}\n", m.Addr(), m.Name(), key)
	}
	_, err := k.d.api.PutSpec(ctx, "cluster.yml", []byte(k.head+b.String()+k.tail))
	return err
}

// members sets a cluster of these machines and waits until it is settled.
func (k *kubernetes) members(ctx context.Context, nodes ...int) error {
	if err := k.put(ctx, nodes...); err != nil {
		return err
	}
	return k.settled(ctx, nodes...)
}

func (k *kubernetes) settled(ctx context.Context, nodes ...int) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return k.d.until(ctx, func(s api.Status) bool {
		return s.Settled && len(s.Nodes) == len(nodes) && !slices.ContainsFunc(nodes, func(i int) bool {
			return !slices.ContainsFunc(s.Nodes, func(n api.NodeStatus) bool { return string(n.Hostname) == k.l.Machine(i).Name() })
		})
	})
}
