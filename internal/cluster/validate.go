package cluster

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cke/internal/units"
)

// Problem is one thing that is wrong with a spec, or, as a Warning, one that
// is allowed and probably not meant.
type Problem struct {
	// Path is where, in the words of cluster.yml: "nodes[1].address". A missing
	// key is reported at the path it would have.
	Path string `json:"path"`
	// Message is a sentence that can be understood without Path.
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"`
}

// String is "nodes[1].address: " and the message.
func (p Problem) String() string { return p.Path + ": " + p.Message }

// The bounds of what a spec may ask for.
const (
	minReplaceAfter = units.Duration(time.Second)
	minQuota        = units.Size(16 << 20)
	maxQuota        = units.Size(100 << 30)
	// maxVoters is etcd's own advice (etcd.io, FAQ, "What is maximum cluster size?").
	maxVoters = 7
	// memberDomain stands between a hostname and the cluster domain in the
	// longest name of a server certificate.
	memberDomain = ".cke-etcd.kube-system.svc."
	maxDNSName   = 253
	maxDNSLabel  = 63
)

var (
	dnsLabel  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	unixName  = regexp.MustCompile(`^[a-z_][-a-z0-9_]{0,31}$`)
	zoneLabel = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
)

// problems collects findings by path.
type problems []Problem

func (ps *problems) add(path, format string, args ...any) {
	*ps = append(*ps, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (ps *problems) warn(path, format string, args ...any) {
	*ps = append(*ps, Problem{Path: path, Message: fmt.Sprintf(format, args...), Warning: true})
}

// HasErrors says whether any of the problems is more than a warning.
func HasErrors(ps []Problem) bool {
	for _, p := range ps {
		if !p.Warning {
			return true
		}
	}
	return false
}

// Validate returns every problem of a spec at once, in the order of the spec.
// What was left out counts as WithDefaults fills it in.
func (s Spec) Validate() []Problem {
	s = s.WithDefaults()
	var ps problems
	switch {
	case s.Name == "":
		ps.add("name", "name is missing")
	case !isDNSLabel(s.Name):
		ps.add("name", "name %.80q is not a DNS label: up to 63 of a-z, 0-9 and -, not at either end", s.Name)
	}
	s.validateDomain(&ps)
	s.validateNodes(&ps)
	s.validateEtcd(&ps)
	s.validatePreflight(&ps)
	s.validateKubernetes(&ps)
	return ps
}

func (s Spec) validateDomain(ps *problems) {
	for label := range strings.SplitSeq(s.ClusterDomain, ".") {
		if !isDNSLabel(label) {
			ps.add("cluster_domain", "cluster_domain %.80q is not a DNS name such as cluster.local", s.ClusterDomain)
			return
		}
	}
	if most := maxDNSName - maxDNSLabel - len(memberDomain); len(s.ClusterDomain) > most {
		ps.add("cluster_domain", "cluster_domain is %d characters long; beyond %d the names of members under it are longer than DNS allows", len(s.ClusterDomain), most)
	}
}

func (s Spec) validateNodes(ps *problems) {
	if s.controlPlaneNodes() == 0 {
		ps.add("nodes", "no node has control_plane: true; at least one is needed to carry a member")
	}
	hostnames, addresses := map[NodeName]int{}, map[netip.Addr]int{}
	for i, n := range s.Nodes {
		at := fmt.Sprintf("nodes[%d]", i)
		n.validate(ps, at)
		if n.Hostname != "" {
			if first, ok := hostnames[n.Hostname]; ok {
				ps.add(at+".hostname", "hostname %.80q is already that of nodes[%d]", n.Hostname, first)
			} else {
				hostnames[n.Hostname] = i
			}
		}
		if n.Address.IsValid() {
			if first, ok := addresses[n.Address]; ok {
				ps.add(at+".address", "address %s is already that of nodes[%d]", n.Address, first)
			} else {
				addresses[n.Address] = i
			}
		}
	}
	s.validateKubernetesNodes(ps)
}

func (n Node) validate(ps *problems, at string) {
	if !n.Address.IsValid() {
		ps.add(at+".address", "address is missing")
	} else if why := unusable(n.Address); why != "" {
		ps.add(at+".address", "address %.80s %s", n.Address, why)
	}
	switch {
	case n.Hostname == "":
		ps.add(at+".hostname", "hostname is missing")
	case !isDNSLabel(string(n.Hostname)):
		ps.add(at+".hostname", "hostname %.80q is not a DNS label: up to 63 of a-z, 0-9 and -, not at either end", n.Hostname)
	}
	n.validateAccess(ps, at)
	n.validateKubernetes(ps, at)
	if n.Zone != "" && (len(n.Zone) > maxDNSLabel || !zoneLabel.MatchString(n.Zone)) {
		ps.add(at+".zone", "zone %.80q is not a label: up to 63 of letters, digits and - _ . between them", n.Zone)
	}
}

// unusable says why no member can listen on an address, or nothing.
func unusable(a netip.Addr) string {
	switch {
	case a.Zone() != "":
		return "has a zone; other hosts cannot use it"
	case a.IsUnspecified():
		return "is the unspecified address; give the one other members reach this node at"
	case a.IsMulticast():
		return "is a multicast address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the broadcast address"
	case a.Is6() && a.IsLinkLocalUnicast():
		return "is link-local and means nothing without a zone; give a global or unique local address"
	}
	return ""
}

func isDNSLabel(s string) bool { return len(s) <= maxDNSLabel && dnsLabel.MatchString(s) }

// printable: valid UTF-8 without control or other invisible characters.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
