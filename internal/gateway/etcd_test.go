package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"cke/internal/cluster"
	"cke/internal/pki"
)

// etcds is a real cluster of three, whose certificates are those CKE issues.
type etcds struct {
	authority pki.Authority
	members   map[cluster.NodeName]*etcdMember
	order     []cluster.NodeName
}

type etcdMember struct {
	*member // only its name and address
	cmd     *exec.Cmd
	log     *journal
	gone    chan struct{}
}

func startEtcds(t *testing.T) *etcds {
	t.Helper()
	authority, err := pki.NewAuthority("main", time.Now())
	must(t, err)
	spec := cluster.Spec{Name: "main", ClusterDomain: "cluster.local"}
	var initial []string
	for i := range 3 {
		n := cluster.Node{Hostname: cluster.NodeName(fmt.Sprintf("cp%d", i+1)), Address: ownAddress()}
		spec.Nodes = append(spec.Nodes, n)
		initial = append(initial, string(n.Hostname)+"="+n.PeerURL())
	}
	c := &etcds{authority: authority, members: map[cluster.NodeName]*etcdMember{}}
	for _, n := range spec.Nodes {
		set, err := authority.MemberSet(spec, n, time.Now())
		must(t, err)
		c.order = append(c.order, n.Hostname)
		c.members[n.Hostname] = startEtcd(t, n, set, strings.Join(initial, ","))
	}
	return c
}

func startEtcd(t *testing.T, n cluster.Node, set pki.MemberSet, initial string) *etcdMember {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"server.crt": set.ServerCert, "server.key": set.ServerKey, "peer.crt": set.PeerCert, "peer.key": set.PeerKey,
		"client-ca.crt": set.ClientCA, "peer-ca.crt": set.PeerCA, "client.crl": set.CRL,
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	m := &etcdMember{
		member: &member{node: n.Hostname, at: netip.AddrPortFrom(n.Address, cluster.ClientPort)},
		log:    &journal{}, gone: make(chan struct{}),
		cmd: exec.Command(etcdBinary(t, "etcd"),
			"--name="+string(n.Hostname), "--data-dir="+at("data"), "--unsafe-no-fsync",
			"--listen-client-urls="+n.ClientURL(), "--advertise-client-urls="+n.ClientURL(),
			"--listen-peer-urls="+n.PeerURL(), "--initial-advertise-peer-urls="+n.PeerURL(),
			"--initial-cluster="+initial, "--initial-cluster-token="+t.Name(),
			"--client-cert-auth", "--trusted-ca-file="+at("client-ca.crt"), "--client-crl-file="+at("client.crl"),
			"--cert-file="+at("server.crt"), "--key-file="+at("server.key"),
			"--peer-client-cert-auth", "--peer-trusted-ca-file="+at("peer-ca.crt"),
			"--peer-cert-file="+at("peer.crt"), "--peer-key-file="+at("peer.key"), "--log-level=warn"),
	}
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, m.cmd.Start())
	go func() {
		_ = m.cmd.Wait() // it is killed
		close(m.gone)
	}()
	t.Cleanup(func() {
		m.crash(t)
		if t.Failed() {
			t.Logf("%s: %s", n.Hostname, m.log)
		}
	})
	return m
}

func (m *etcdMember) crash(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	<-m.gone
}

func etcdBinary(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join("..", "..", "bin")
	if path := os.Getenv("CKE_ETCD_BIN"); path != "" {
		dir = filepath.Dir(path)
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	must(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("find %s: %v; run: make build", name, err)
	}
	return path
}

func (c *etcds) list() []*member {
	var all []*member
	for _, n := range c.order {
		all = append(all, c.members[n].member)
	}
	return all
}

// client trusts nobody but the cluster's own server CA.
func (c *etcds) client(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	cert, err := c.authority.Client.Issue(pki.ClientRequest("app", time.Hour), time.Now())
	must(t, err)
	config, err := pki.ClientTLS(cert, c.authority.Server)
	must(t, err)
	if config.InsecureSkipVerify || config.MinVersion < tls.VersionTLS12 {
		t.Fatal("the client verifies nothing")
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: config, DialTimeout: patience, Logger: zap.NewNop()})
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// onlyWith is the node that has connections.
func (r *rig) onlyWith(t *testing.T) cluster.NodeName {
	t.Helper()
	var on cluster.NodeName
	r.until(t, "one member has the connection", func(s State) bool {
		n := 0
		for node, open := range s.Connections {
			if n += open; open > 0 {
				on = node
			}
		}
		return n == 1
	})
	return on
}

// The gateway's address is 127.0.0.1, as clients use it: every member's
// certificate carries that name.
func TestRealEtcdBehindTheGateway(t *testing.T) {
	c := startEtcds(t)
	r := start(t, func(r *rig) {
		r.at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ownPort(t))
		r.put(t, c.list()...)
	})
	client := c.client(t, "https://"+r.at.String())
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	eventually(t, "the cluster has a leader", func() bool {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := client.Put(ctx, "began", "")
		return err == nil
	})
	c.testEtcdctl(t, r)

	// An election that takes longer is no reason to end it.
	watched := client.Watch(ctx, "count")
	failed := 0
	count := func(n int) {
		t.Helper()
		pause(ctx, t, 50*time.Millisecond, "all is written") // nobody writes all the time
		for {
			_, err := client.Put(ctx, "count", fmt.Sprint(n))
			if err == nil {
				break
			}
			failed++ // a write whose connection ends is not repeated by the client
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
		got, err := client.Get(ctx, "count") // a read is
		must(t, err)
		if v := string(got.Kvs[0].Value); v != fmt.Sprint(n) {
			t.Fatalf("read %s, want %d", v, n)
		}
	}
	count(0)
	n := 1
	for range 3 {
		on := c.members[r.onlyWith(t)]
		on.draining = true
		r.apply(t, c.list()...)
		eventually(t, "its connections have gone elsewhere", func() bool {
			count(n)
			n++
			s := r.state(t)
			return s.Connections[on.node] == 0 && len(s.Connections) == 3
		})
		on.draining = false
		r.apply(t, c.list()...)
	}
	on := c.members[r.onlyWith(t)]
	on.crash(t)
	count(n)
	if now := r.onlyWith(t); now == on.node {
		t.Errorf("the connection is still with %s, which is dead", now)
	}
	t.Logf("%d writes, %d had to be repeated", n, failed)
	c.mustHaveSeen(t, watched, n)
}

// mustHaveSeen: a watch that was led from member to member misses nothing.
func (c *etcds) mustHaveSeen(t *testing.T, watched clientv3.WatchChan, last int) {
	t.Helper()
	next := 0
	for next <= last {
		w, ok := <-watched
		if !ok || w.Err() != nil {
			t.Fatalf("the watch ended at %d: %v", next, w.Err())
		}
		for _, e := range w.Events {
			switch v := string(e.Kv.Value); v {
			case fmt.Sprint(next):
				next++
			case fmt.Sprint(next - 1): // a write that was repeated
			default:
				t.Fatalf("the watch saw %s, want %d", v, next)
			}
		}
	}
}

func (c *etcds) testEtcdctl(t *testing.T, r *rig) {
	t.Helper()
	dir := t.TempDir()
	cert, err := c.authority.Client.Issue(pki.ClientRequest("app", time.Hour), time.Now())
	must(t, err)
	for name, content := range map[string][]byte{"ca.crt": c.authority.Server.CertPEM(), "app.crt": cert.CertPEM, "app.key": cert.KeyPEM} {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	etcdctl := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), etcdBinary(t, "etcdctl"), append([]string{"--endpoints=https://" + r.at.String()}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	trusted := []string{"--cacert=" + filepath.Join(dir, "ca.crt"), "--cert=" + filepath.Join(dir, "app.crt"), "--key=" + filepath.Join(dir, "app.key")}
	if out, err := etcdctl(append(trusted, "put", "from", "etcdctl")...); err != nil {
		t.Fatalf("etcdctl: %v\n%s", err, out)
	}
	if out, err := etcdctl(append(trusted, "get", "from")...); err != nil || out != "from\netcdctl\n" {
		t.Fatalf("etcdctl: %v\n%s", err, out)
	}
	// Without a certificate it is the member that refuses, not the gateway.
	if out, err := etcdctl(trusted[0], "--command-timeout=2s", "get", "from"); err == nil {
		t.Errorf("etcdctl without a certificate got\n%s", out)
	}
}
