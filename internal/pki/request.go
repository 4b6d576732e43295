package pki

import (
	"net/netip"
	"slices"
	"time"

	"cke/internal/cluster"
)

// MemberTTL is how long a member's own certificates live. They are renewed from
// two thirds of it, without a restart, as etcd reads them at each handshake. So
// its length only decides how long a cluster outlives its CKE: for more than
// three years after the last renewal, rather than dying of a forgotten date.
const MemberTTL = 10 * 365 * 24 * time.Hour

// service is where clients inside Kubernetes find the members.
const service = "cke-etcd"

// ServerRequest is what a member shows to its clients. Server authentication is
// enough: a member calls its own client port only for the gRPC gateway, which is
// off, and its certificate is not of the CA that clients are trusted by.
func ServerRequest(spec cluster.Spec, n cluster.Node) Request {
	host, domain := string(n.Hostname), spec.ClusterDomain
	names := []string{
		host, "localhost",
		service, service + ".kube-system", service + ".kube-system.svc", service + ".kube-system.svc." + domain,
		host + "." + service + ".kube-system.svc." + domain, // the SRV target
	}
	loopback6 := netip.IPv6Loopback()
	return Request{
		CommonName: host,
		DNSNames:   unique(names),
		IPs:        unique([]netip.Addr{n.Address.Unmap(), loopback4(), loopback6}),
		TTL:        MemberTTL,
		ServerAuth: true,
	}
}

// PeerRequest is what a member shows to its peers, as server and as client: one
// certificate for both directions, so both usages. etcd checks the caller's
// source address against it, which between loopback addresses is 127.0.0.1. It
// carries no DNS names, as etcd would resolve those at each call.
func PeerRequest(_ cluster.Spec, n cluster.Node) Request {
	ips := []netip.Addr{n.Address.Unmap()}
	if n.Address.Unmap().IsLoopback() {
		ips = append(ips, loopback4())
	}
	return Request{
		CommonName: string(n.Hostname),
		IPs:        unique(ips),
		TTL:        MemberTTL,
		ServerAuth: true,
		ClientAuth: true,
	}
}

// ClientRequest is what a user of etcd shows: etcd takes the common name for the
// user's.
func ClientRequest(user string, ttl time.Duration) Request {
	return Request{CommonName: user, TTL: ttl, ClientAuth: true}
}

func loopback4() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// unique drops repetitions and keeps the order.
func unique[T comparable](in []T) []T {
	var out []T
	for _, v := range in {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
