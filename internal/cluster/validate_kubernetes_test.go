package cluster

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cke/internal/units"
)

func TestValidateAcceptsKubernetes(t *testing.T) {
	for name, change := range map[string]func(*Spec){
		"in the cluster":  func(s *Spec) { s.Kubernetes.Kubeconfig = "in-cluster" },
		"nothing at all":  func(s *Spec) { s.Kubernetes = Kubernetes{} },
		"another place":   func(s *Spec) { s.Kubernetes.APIServer.Directory = "/var/lib/rancher/pki" },
		"another user's":  func(s *Spec) { s.Kubernetes.APIServer.Owner, s.Kubernetes.APIServer.Group = "kube", "_kube-1" },
		"its group's too": func(s *Spec) { s.Kubernetes.APIServer.Mode = "0640" },
		"read-only":       func(s *Spec) { s.Kubernetes.APIServer.Mode = "0440" },
		"another port":    func(s *Spec) { s.Kubernetes.GatewayPort = 2383 },
		"the lowest port": func(s *Spec) { s.Kubernetes.GatewayPort = 1024 },
		"names of Nodes": func(s *Spec) {
			s.Nodes[0].KubernetesNode, s.Nodes[1].KubernetesNode = "cp1.example.org", "ip-10-0-0-2.internal"
		},
		"both on one machine": func(s *Spec) { s.Nodes[0].User, s.Nodes[0].APIServer, s.Nodes[0].Gateway = "cke", true, true },
		"the least history":   func(s *Spec) { s.Etcd.CompactionRetention = units.Duration(time.Second) },
		"the most history":    func(s *Spec) { s.Etcd.CompactionRetention = units.Duration(365 * 24 * time.Hour) },
		"a worker whose address nobody publishes": func(s *Spec) {
			s.Nodes = append(s.Nodes, Node{Hostname: "w", Address: netip.MustParseAddr("127.0.0.9")})
		},
	} {
		s := validSpec()
		change(&s)
		if ps := s.Validate(); len(ps) != 0 {
			t.Errorf("%s:\n%s", name, lines(ps))
		}
	}
}

func kubernetesProblems() map[string]func(*Spec) {
	directory := func(d string) func(*Spec) { return func(s *Spec) { s.Kubernetes.APIServer.Directory = d } }
	mode := func(m string) func(*Spec) { return func(s *Spec) { s.Kubernetes.APIServer.Mode = m } }
	port := func(p uint16) func(*Spec) { return func(s *Spec) { s.Kubernetes.GatewayPort = p } }
	return map[string]func(*Spec){
		`kubernetes.kubeconfig: kubeconfig "admin.conf" is neither an absolute path nor in-cluster`: func(s *Spec) { s.Kubernetes.Kubeconfig = "admin.conf" },
		`kubernetes.apiserver.directory: directory "pki" is not an absolute path`:                   directory("pki"),
		`kubernetes.apiserver.directory: directory "/a/../b" is not`:                                directory("/a/../b"),
		`kubernetes.apiserver.directory: directory "/a/" is not`:                                    directory("/a/"),
		`kubernetes.apiserver.directory: directory "/" is not`:                                      directory("/"),
		`kubernetes.apiserver.directory: directory "/a\nb" is not`:                                  directory("/a\nb"),
		`kubernetes.apiserver.owner: owner "0" is not the name of a unix user`:                      func(s *Spec) { s.Kubernetes.APIServer.Owner = "0" },
		`kubernetes.apiserver.group: group "a b" is not the name of a unix group`:                   func(s *Spec) { s.Kubernetes.APIServer.Group = "a b" },
		`kubernetes.apiserver.mode: mode "0644" is none of 0600, 0400, 0640, 0440`:                  mode("0644"),
		`kubernetes.apiserver.mode: mode "600" is none of`:                                          mode("600"),
		`kubernetes.apiserver.mode: mode "0o600" is none of`:                                        mode("0o600"),
		`kubernetes.gateway_port: gateway_port 1023 is privileged: at least 1024`:                   port(1023),
		`kubernetes.gateway_port: gateway_port 2379 is one of a member's own ports`:                 port(2379),
		`kubernetes.gateway_port: gateway_port 2382 is one of a member's own ports`:                 port(2382),
		`nodes[1].kubernetes_node: kubernetes_node "CP1" is not a DNS name`:                         func(s *Spec) { s.Nodes[1].KubernetesNode = "CP1" },
		`nodes[1].kubernetes_node: kubernetes_node "a..b" is not a DNS name`:                        func(s *Spec) { s.Nodes[1].KubernetesNode = "a..b" },
		`is not a DNS name of up to 253 characters`:                                                 func(s *Spec) { s.Nodes[1].KubernetesNode = strings.Repeat("a.", 126) + "aa" },
		`nodes[2].kubernetes_node: kubernetes_node "a" is already that of nodes[0]`: func(s *Spec) {
			s.Nodes[0].KubernetesNode, s.Nodes[2].KubernetesNode = "a", "a"
		},
		"nodes[0].apiserver: apiserver needs user": func(s *Spec) { s.Nodes[0].APIServer = true },
		"nodes[0].gateway: gateway needs user":     func(s *Spec) { s.Nodes[0].Gateway = true },
	}
}

func TestValidateWarnsOfUnpublishableAddresses(t *testing.T) {
	s := validSpec()
	s.Nodes[0].Address, s.Nodes[2].Address = netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("169.254.0.3")
	ps := s.Validate()
	want := "warning: kubernetes.kubeconfig: Kubernetes refuses these addresses of nodes, so nothing is published for their members: " +
		"127.0.0.1 is a loopback address, 169.254.0.3 is link-local\n"
	if got := lines(ps); got != want || HasErrors(ps) {
		t.Errorf("got  %swant %s", got, want)
	}
	s.Kubernetes.Kubeconfig = ""
	if ps := s.Validate(); len(ps) != 0 {
		t.Errorf("without a kubeconfig: %s", lines(ps))
	}
}

func TestPublishableAddr(t *testing.T) {
	for a, want := range map[string]string{
		"10.0.0.1": "", "192.0.2.1": "", "fd00::1": "", "::ffff:10.0.0.1": "",
		"127.0.0.1": "is a loopback address", "::1": "is a loopback address", "::ffff:127.0.0.2": "is a loopback address",
		"169.254.1.1": "is link-local", "fe80::1": "is link-local", "fe80::1%eth0": "has a zone",
		"224.0.0.1": "is a multicast address", "ff02::1": "is a multicast address", "0.0.0.0": "is the unspecified address", "::": "is the unspecified address",
	} {
		if got := PublishableAddr(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s %q, want %q", a, got, want)
		}
	}
	if PublishableAddr(netip.Addr{}) == "" {
		t.Error("no address may be published")
	}
}

func TestValidateChangeOfTheGatewayPort(t *testing.T) {
	old := validSpec()
	s := validSpec()
	s.Kubernetes.GatewayPort = 12380
	if got := lines(s.ValidateChange(old, nil)); got != "" {
		t.Errorf("nobody has a gateway: %s", got)
	}
	old.Nodes[0].User, old.Nodes[0].Gateway = "cke", true
	want := "warning: kubernetes.gateway_port: gateway_port changes from 12379 to 12380: what uses a gateway loses it until it is told of the new port\n"
	if got := lines(s.ValidateChange(old, nil)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}
