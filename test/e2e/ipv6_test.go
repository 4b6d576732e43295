package e2e

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestIPv6 runs a member on ::1, which is one address: a cluster of one.
func TestIPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	e := newEnv(t)
	e.Start()
	e.Set(strings.Replace(e.clusterYAML(1), "address: "+e.addr(1), "address: '::1'", 1))
	e.CLI("etcd", "user-add", "app", "/app/")
	e.CLI("etcd", "issue", "--output", "file", "app")
	file := func(name string) string { return filepath.Join(e.Dir, name) }
	r := e.Run("etcdctl", "--endpoints=[::1]:2379", "--cacert="+file("etcd-ca.crt"), "--cert="+file("etcd-app.crt"), "--key="+file("etcd-app.key"), "put", "/app/x", "1")
	if r.Code != 0 {
		t.Errorf("etcdctl put: exit %d\n%s", r.Code, r.Stderr)
	}
}
