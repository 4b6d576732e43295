package agent

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"cke/internal/cluster"
	"cke/internal/host"
)

// paths are the places a unit's flags name.
type paths struct {
	data string
	pki  func(host.FileKind) string
	// log is the file etcd writes and rotates itself; empty: stderr.
	log string
}

// logRotation bounds etcd's own log: megabytes per file, and files kept beside it.
const logRotation = `{"maxsize":16,"maxage":0,"maxbackups":2,"localtime":false,"compress":false}`

// argv is etcd's command line without its name: a pure function of a checked
// unit. Flags only: a configuration file would silence them and has no key for
// the revocation list.
func argv(u cluster.Unit, p paths) []string {
	loop := loopback(u.Address)
	client := cluster.URL(u.Address, cluster.ClientPort)
	peer := cluster.URL(u.Address, cluster.PeerPort)
	args := []string{
		"--name=" + string(u.Node),
		"--data-dir=" + p.data,

		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		// Apart from gRPC, so that the client port speaks gRPC only.
		"--listen-client-http-urls=" + cluster.URL(loop, cluster.ClientHTTPPort),
		// Any tenant's certificate could read metrics on the client port.
		"--listen-metrics-urls=http://" + netip.AddrPortFrom(loop, cluster.MetricsPort).String(),
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,

		"--cert-file=" + p.pki(host.ServerCert),
		"--key-file=" + p.pki(host.ServerKey),
		"--trusted-ca-file=" + p.pki(host.ClientCA),
		"--client-cert-auth=true",
		"--client-crl-file=" + p.pki(host.ClientCRL),
		"--peer-cert-file=" + p.pki(host.PeerCert),
		"--peer-key-file=" + p.pki(host.PeerKey),
		"--peer-trusted-ca-file=" + p.pki(host.PeerCA),
		"--peer-client-cert-auth=true",

		"--enable-grpc-gateway=false",
		"--strict-reconfig-check=true",
		"--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true",
		"--auto-compaction-mode=periodic",
		"--auto-compaction-retention=" + retention(u),
		"--quota-backend-bytes=" + strconv.FormatInt(int64(u.Quota), 10),
		"--logger=zap",
	}
	args = append(args, logArgs(p.log)...)
	args = append(args, foundingArgs(u.Founding)...)
	for _, name := range slices.Sorted(maps.Keys(u.ExtraArgs)) {
		args = append(args, "--"+name+"="+u.ExtraArgs[name])
	}
	return args
}

// retention is in words that etcd reads: it knows no days.
func retention(u cluster.Unit) string {
	if u.Retention == 0 {
		return "5m"
	}
	return u.Retention.Std().String()
}

func logArgs(file string) []string {
	if file == "" {
		return []string{"--log-outputs=stderr"}
	}
	return []string{"--log-outputs=" + file, "--enable-log-rotation=true", "--log-rotation-config-json=" + logRotation}
}

// foundingArgs say how to enter a cluster. A member that is in one has its data
// and needs no more than to be told never to found another.
func foundingArgs(f *cluster.Founding) []string {
	if f == nil {
		return []string{"--initial-cluster-state=existing"}
	}
	state := "existing"
	if f.New {
		state = "new"
	}
	peers := make([]string, 0, len(f.Peers))
	for _, name := range slices.Sorted(maps.Keys(f.Peers)) {
		peers = append(peers, fmt.Sprintf("%s=%s", name, f.Peers[name]))
	}
	return []string{
		"--initial-cluster-state=" + state,
		"--initial-cluster-token=" + f.Token,
		"--initial-cluster=" + strings.Join(peers, ","),
	}
}

// env is all of etcd's environment: a variable of the parent named ETCD_* would
// be a flag.
func env(u cluster.Unit) []string {
	out := make([]string, 0, len(u.ExtraEnv))
	for _, name := range slices.Sorted(maps.Keys(u.ExtraEnv)) {
		out = append(out, name+"="+u.ExtraEnv[name])
	}
	return out
}

// loopback is where a member's local-only ports listen. Members that share this
// machine on several loopback addresses each use their own.
func loopback(a netip.Addr) netip.Addr {
	if a.IsLoopback() {
		return a
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
