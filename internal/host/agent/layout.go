package agent

import (
	"path/filepath"

	"cke/internal/cluster"
	"cke/internal/host"
)

// layout is the only place where a name becomes a path. Names are checked
// before they come here (validate.go).
type layout struct {
	root     string
	releases string
}

func (l layout) config(cluster string) string {
	return filepath.Join(l.root, "etc/cke/etcd", cluster)
}

func (l layout) pki(cluster string) string  { return filepath.Join(l.config(cluster), "pki") }
func (l layout) unit(cluster string) string { return filepath.Join(l.config(cluster), "unit.json") }

func (l layout) file(cluster string, k host.FileKind) string {
	return filepath.Join(l.pki(cluster), string(k))
}

// dataRoot may be a file system of its own.
func (l layout) dataRoot() string { return filepath.Join(l.root, "var/lib/cke/etcd") }

// members holds one data directory per member of a cluster.
func (l layout) members(cluster string) string { return filepath.Join(l.dataRoot(), cluster) }

func (l layout) data(cluster string, m cluster.MemberID) string {
	return filepath.Join(l.members(cluster), m.String())
}

// asides are where data is moved to, the usual place first. The second is for
// a data root that is a file system of its own: a rename cannot leave it.
func (l layout) asides(cluster string) []string {
	return []string{
		filepath.Join(l.asideRoot(), cluster),
		filepath.Join(l.members(cluster), ".aside"),
	}
}

func (l layout) asideRoot() string { return filepath.Join(l.root, "var/lib/cke/etcd-aside") }

// helpers is where CKE puts the helper when it may.
func (l layout) helpers() string { return filepath.Join(l.root, "opt/cke/libexec") }

// host is the agent's own memory. It lies on the root disk, apart from the data.
func (l layout) host() string { return filepath.Join(l.root, "var/lib/cke/host") }

// locks holds a file for each cluster.
func (l layout) locks() string { return filepath.Join(l.host(), "lock") }

// state is the agent's memory of one cluster.
func (l layout) state(cluster string) string { return filepath.Join(l.host(), "etcd", cluster) }

func (l layout) seal(cluster string, m cluster.MemberID) string {
	return filepath.Join(l.state(cluster), "seal-"+m.String()+".json")
}

// binary is the etcd of a version.
func (l layout) binary(version string) string {
	return filepath.Join(l.releases, "v"+version, "etcd")
}

// incoming holds a release that is being received.
func (l layout) incoming() string { return filepath.Join(l.releases, ".incoming") }

// partial is what has come of a release's packed form.
func (l layout) partial(r host.Release) string {
	return filepath.Join(l.incoming(), r.PackedSHA256)
}

// gatewayProgram is a helper's program under a name of its own, which stays
// while helpers come and go.
func (l layout) gatewayProgram() string { return filepath.Join(l.root, "opt/cke/gateway/cke-gateway") }

// gatewayLists holds a file for the cluster that the machine's gateway leads to.
func (l layout) gatewayLists() string { return filepath.Join(l.root, "var/lib/cke/gateway") }

func (l layout) gatewayList(cluster string) string {
	return filepath.Join(l.gatewayLists(), cluster+".json")
}

// gatewaySocket is where a running gateway says what it goes by.
func (l layout) gatewaySocket() string { return filepath.Join(l.root, "run/cke-gateway/state.sock") }

// clientRecords holds a file for each cluster whose client certificate was put
// here. It is not part of state: clean leaves it to purge.
func (l layout) clientRecords() string { return filepath.Join(l.host(), "client") }

func (l layout) clientRecord(cluster string) string {
	return filepath.Join(l.clientRecords(), cluster+".json")
}

// clientAllowed names more directories for client certificates; it is the
// administrator's.
func (l layout) clientAllowed() string { return filepath.Join(l.root, "etc/cke/client-directories") }
