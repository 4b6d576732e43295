package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

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
	*tended
	c     *k8s.Client
	names *net.Resolver
	audit string // what user cke asked for
}

// inKubernetes measures how soon Kubernetes and its DNS know of members that die
// and come, and what CKE asks of the API server when nothing happens.
func inKubernetes(ctx context.Context, o options) (err error) {
	l, err := lab.Open(kubeMachines) //nolint:contextcheck // a lab that was begun is made or taken down whole
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	k := &kubernetes{audit: filepath.Join(o.dir, "audit.log")}
	if err := k.start(ctx, o, l); err != nil {
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

func (k *kubernetes) start(ctx context.Context, o options, l *lab.Lab) (err error) {
	const tail = "etcd: {quota: 256MiB}\n" + roomyPreflight
	if k.tended, err = tend(ctx, o, l, "cke-kube", "interval: 2s\n", "", tail); err != nil {
		return err
	}
	s := k.d.site
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
	if k.Plane != nil {
		k.Close()
	}
	if k.tended == nil {
		return nil
	}
	return errors.Join(k.etcd.Close(), k.d.stop())
}
