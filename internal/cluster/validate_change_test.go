package cluster

import (
	"net/netip"
	"testing"

	"cke/internal/units"
)

func TestValidateChange(t *testing.T) {
	addr := netip.MustParseAddr
	gone := []Node{{Address: addr("10.0.0.9"), Hostname: "cp9", ControlPlane: true}}
	for name, c := range map[string]struct {
		change func(*Spec)
		want   string
	}{
		"nothing":                  {func(*Spec) {}, ""},
		"defaults":                 {func(s *Spec) { *s = s.WithDefaults() }, ""},
		"the same address, mapped": {func(s *Spec) { s.Nodes[0].Address = addr("::ffff:10.0.0.1") }, ""},
		"add a node":               {func(s *Spec) { s.Nodes = nodes(4) }, ""},
		"remove two":               {func(s *Spec) { s.Nodes = nodes(1) }, ""},
		"replace all": {func(s *Spec) {
			s.Nodes = []Node{{Address: addr("10.0.1.1"), Hostname: "n1", ControlPlane: true}}
		}, ""},
		"reorder":                 {func(s *Spec) { s.Nodes[0], s.Nodes[1] = s.Nodes[1], s.Nodes[0] }, ""},
		"no longer control plane": {func(s *Spec) { s.Nodes[2].ControlPlane = false }, ""},
		"how it is reached": {func(s *Spec) {
			s.Nodes[0].User, s.Nodes[0].Port, s.Nodes[0].HostKey = "cke", 2222, goodKey
		}, ""},
		"larger quota":              {func(s *Spec) { s.Etcd.Quota = 9 << 30 }, ""},
		"a leaving node comes back": {func(s *Spec) { s.Nodes = append(s.Nodes, gone...) }, ""},
		"name": {func(s *Spec) { s.Name = "other" },
			"name: name may not change from main to other: it is part of every unit, directory and certificate of the cluster\n"},
		"cluster_domain": {func(s *Spec) { s.ClusterDomain = "example.org" },
			"warning: cluster_domain: cluster_domain changes from cluster.local to example.org: server certificates are issued again, and clients that use names under cluster.local no longer trust them\n"},
		"a patch":      {func(s *Spec) { s.Etcd.Version = "3.7.4" }, ""},
		"a patch back": {func(s *Spec) { s.Etcd.Version = "3.7.0" }, ""},
		"a line up":    {func(s *Spec) { s.Etcd.Version = "3.8.1" }, ""},
		"a line down": {func(s *Spec) { s.Etcd.Version = "3.6.16" },
			"warning: etcd.version: version goes down from 3.7.3 to 3.6.16: through etcd's own downgrade, and what the newer line alone can do is lost\n"},
		"two lines up": {func(s *Spec) { s.Etcd.Version = "3.9.0" },
			"etcd.version: version may not change from 3.7.3 to 3.9.0: etcd goes up one minor version at a time: from 3.7.3 to 3.8 first\n"},
		"two lines down": {func(s *Spec) { s.Etcd.Version = "3.5.20" },
			"etcd.version: version may not change from 3.7.3 to 3.5.20: etcd goes down one minor version at a time: from 3.7.3 to 3.6 first\n"},
		"another major version": {func(s *Spec) { s.Etcd.Version = "4.0.0" },
			"etcd.version: version may not change from 3.7.3 to 4.0.0: etcd 3.7.3 does not become 4.0.0: another major version\n"},
		"smaller quota": {func(s *Spec) { s.Etcd.Quota = units.Size(1 << 30) },
			"warning: etcd.quota: quota shrinks from 8GiB to 1GiB: a member whose data is larger stops accepting writes when it is next started\n"},
		"address of a node": {func(s *Spec) { s.Nodes[1].Address = addr("10.0.0.7") },
			"nodes[1].address: the address of cp2 may not change from 10.0.0.2 to 10.0.0.7; remove the node first, or use another hostname\n"},
		"hostname of a node": {func(s *Spec) { s.Nodes[1].Hostname = "n2" },
			"nodes[1].hostname: the hostname at 10.0.0.2 may not change from cp2 to n2; remove the node first, or use another address\n"},
		"two swap": {func(s *Spec) { s.Nodes[0].Hostname, s.Nodes[1].Hostname = "cp2", "cp1" },
			"nodes[0].address: the address of cp2 may not change from 10.0.0.2 to 10.0.0.1; remove the node first, or use another hostname\n" +
				"nodes[0].hostname: the hostname at 10.0.0.1 may not change from cp1 to cp2; remove the node first, or use another address\n" +
				"nodes[1].address: the address of cp1 may not change from 10.0.0.1 to 10.0.0.2; remove the node first, or use another hostname\n" +
				"nodes[1].hostname: the hostname at 10.0.0.2 may not change from cp2 to cp1; remove the node first, or use another address\n"},
		"leaving address": {func(s *Spec) { s.Nodes = append(s.Nodes, Node{Address: addr("10.0.0.9"), Hostname: "new"}) },
			"nodes[3].hostname: the hostname at 10.0.0.9 may not change from cp9 to new; that node is still leaving, or use another address\n"},
		"leaving hostname": {func(s *Spec) { s.Nodes = append(s.Nodes, Node{Address: addr("10.0.0.8"), Hostname: "cp9"}) },
			"nodes[3].address: the address of cp9 may not change from 10.0.0.9 to 10.0.0.8; that node is still leaving, or use another hostname\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := validSpec()
			c.change(&s)
			if got := lines(s.ValidateChange(validSpec(), gone)); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}
