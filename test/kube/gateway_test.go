package kube

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/test/drive"
	"cke/test/kube/k8s"
	"cke/test/lab"
)

// The machine that the API server runs on carries no member, but a gateway.
const apiMachine = 7

// TestGateway runs an API server on a machine, through the gateway there and with
// the certificate that CKE puts there. It knows one address for ever, whatever
// becomes of the members and of CKE.
func TestGateway(t *testing.T) {
	e := newEnv(t, apiMachine, func(l *lab.Lab) lab.Node { return l.Machine(apiMachine) })
	e.Start()
	e.etcd = ", version: " + drive.OlderVersion
	e.Set(e.withGateway(1, 2, 3))
	e.hasItsFiles()
	e.serveThroughGateway()
	t.Run("all members restarted", func(t *testing.T) { e.in(t).goesOnWhileAllAreRestarted(e) })
	t.Run("without CKE", func(t *testing.T) { e.in(t).goesOnWithoutCKE(e) })
	t.Run("all members replaced", func(t *testing.T) { e.in(t).goesOnWhileAllAreReplaced() })
	t.Run("after a reboot", func(t *testing.T) { e.in(t).comesBackAtBoot(e) })
}

// serveThroughGateway starts the API server on its machine, with the files that
// CKE put there.
func (e *env) serveThroughGateway() {
	e.t.Helper()
	e.must(e.StartAPIServerOn(e.ctx(), e.lab.Machine(apiMachine), k8s.Etcd{
		Servers: []string{"https://127.0.0.1:12379"},
		CA:      path.Join(cluster.DefaultClientDirectory, cluster.ClientCAFile),
		Cert:    path.Join(cluster.DefaultClientDirectory, cluster.ClientCertFile),
		Key:     path.Join(cluster.DefaultClientDirectory, cluster.ClientKeyFile),
	}))
}

// withGateway is a cluster.yml with members on these machines, and the API
// server's machine.
func (e *env) withGateway(nodes ...int) string {
	e.t.Helper()
	m := e.lab.Machine(apiMachine)
	key, err := m.HostKeyFingerprint(e.ctx())
	e.must(err)
	line := fmt.Sprintf("  - {address: %s, hostname: %s, user: root, host_key: %q, gateway: true, apiserver: true}\n", m.Addr(), m.Name(), key)
	return strings.Replace(e.yaml(nodes...), "etcd: {", line+"etcd: {", 1)
}

// hasItsFiles looks at the files and compares them with what CKE says an API
// server needs.
func (e *env) hasItsFiles() {
	e.t.Helper()
	modes := e.sh(apiMachine, "cd /etc/kubernetes/pki && stat -c '%n %a %U %G' apiserver-etcd-client.crt apiserver-etcd-client.key etcd-ca.crt")
	want := "apiserver-etcd-client.crt 644 root root\napiserver-etcd-client.key 600 root root\netcd-ca.crt 644 root root"
	if modes != want {
		e.t.Errorf("the files are\n%s\nwant\n%s", modes, want)
	}
	e.Says("etcd-config", e.CLI("kubernetes", "etcd-config", "--flags", "--node", string(e.name(apiMachine))),
		"--etcd-servers=https://127.0.0.1:12379\n", "--etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt\n",
		"--etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key\n", "--etcd-cafile=/etc/kubernetes/pki/etcd-ca.crt\n",
		"--etcd-compaction-interval=0\n")
}

// goesOnWithoutCKE ends CKE and then a member for good.
func (e *env) goesOnWithoutCKE(whole *env) {
	whole.Kill()
	e.must(e.lab.Machine(1).PowerCut())
	for i := range 20 {
		e.writes(fmt.Sprintf("without-%d", i))
	}
	e.must(e.lab.Machine(1).On())
	whole.Start()
	e.Until("the member is back", func(s api.Status) error {
		if !s.Settled {
			return errors.New("not settled")
		}
		return nil
	})
	e.OnlyMembersAre(e.name(1), e.name(2), e.name(3))
}

// goesOnWhileAllAreReplaced replaces all three members by one edit.
func (e *env) goesOnWhileAllAreReplaced() {
	root := e.Connect(e.RootCert(), e.addrs(1, 2, 3, 4, 5, 6)...)
	l := e.startLoad(root)
	e.Eventually("the load runs", l.hasMade(200))
	e.Set(e.withGateway(4, 5, 6))
	before := l.made()
	e.Eventually("the load goes on", l.hasMade(before+200))
	l.finish(e.t, 600)
	e.OnlyMembersAre(e.name(4), e.name(5), e.name(6))
	e.NeverBelowQuorum()
	if n := e.sh(apiMachine, "systemctl show -p NRestarts --value kube-apiserver.service"); n != "0" {
		e.t.Errorf("the API server was started %s times more", n)
	}
}

func (l *load) hasMade(n int) func() error {
	return func() error {
		if got := l.made(); got < n {
			return fmt.Errorf("%d of %d objects", got, n)
		}
		return nil
	}
}

// comesBackAtBoot starts the machine anew while CKE is down: its gateway leads to
// the members all the same.
func (e *env) comesBackAtBoot(whole *env) {
	whole.Kill()
	e.must(e.lab.Machine(apiMachine).Reboot())
	e.serveThroughGateway()
	e.writes("after-boot")
}

// writes waits until the API server makes an object of this name.
func (e *env) writes(name string) {
	e.t.Helper()
	e.Eventually("the API server writes", func() error {
		ctx, cancel := context.WithTimeout(e.ctx(), requestPatience)
		defer cancel()
		return e.client.Create(ctx, "/api/v1/namespaces/default/configmaps", map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name},
		}, nil)
	})
}
