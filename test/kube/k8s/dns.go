package k8s

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"
)

// TTL is how long a name's answer may be kept.
const TTL = 5 * time.Second

// corefile has no cache, so that an answer is as old as CoreDNS's own watch.
const corefile = `cluster.local:53 {
	bind %[1]s
	errors
	ready %[1]s:8181
	kubernetes cluster.local {
		kubeconfig %[2]s
		ttl %[3]d
	}
}
`

// corednsRole is what the kubernetes plugin asks for.
const corednsRole = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
  - {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: coredns}]
`

// StartCoreDNS serves the names of cluster.local on port 53 of addr, and waits
// until it knows them.
func (p *Plane) StartCoreDNS(ctx context.Context, addr netip.Addr) (*Process, error) {
	if _, err := p.Kubectl(ctx, corednsRole, "apply", "-f", "-"); err != nil {
		return nil, err
	}
	config, err := p.Kubeconfig("coredns")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.dir, "Corefile")
	if err := writeFile(file, fmt.Appendf(nil, corefile, addr, config, int(TTL.Seconds()))); err != nil {
		return nil, fmt.Errorf("start coredns: %w", err)
	}
	if err := writeFile(filepath.Join(p.dir, "resolv.conf"), fmt.Appendf(nil, "nameserver %s\noptions timeout:2 attempts:2\n", addr)); err != nil {
		return nil, fmt.Errorf("start coredns: %w", err)
	}
	s, err := p.start("coredns", "-conf", file)
	if err != nil {
		return nil, err
	}
	r := Resolver(addr)
	return s, until(ctx, s, func(ctx context.Context) error {
		_, err := r.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
		return err
	})
}

// Resolver asks the name server at addr and nobody else.
func Resolver(addr netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, netip.AddrPortFrom(addr, 53).String())
	}}
}

// OnlyCoreDNS is a command line that runs a program which finds names through
// CoreDNS alone: its resolv.conf names no other server and its hosts file is
// empty, in a mount namespace of its own.
func (p *Plane) OnlyCoreDNS(program string, args ...string) []string {
	const script = `set -e
mount --bind "$1" /etc/resolv.conf
mount --bind /dev/null /etc/hosts
shift
exec "$@"`
	line := []string{"unshare", "--mount", "sh", "-c", script, "names", filepath.Join(p.dir, "resolv.conf")}
	return append(append(line, program), args...)
}
