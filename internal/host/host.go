// Package host is CKE's side of one managed machine. The verbs are those of
// the domain, not of a shell; a request carries names and values, never a path
// or a command. One handler (host/agent) serves them; it is reached in-process
// (local.go) or over any byte stream (stdio.go), with the same HTTP both ways.
package host

import (
	"context"
	"io"
	"net/netip"
	"time"

	"cke/internal/cluster"
)

// Host is one managed machine as seen from CKE. Every method ends when its
// context does. A mutating method returns a *FencedError when the machine
// belongs to another store or has seen a newer leader, a *GuardError when the
// machine's own guard refuses, an *InvalidError for a malformed request.
type Host interface {
	// Facts reports everything the machine knows about one cluster. It changes
	// nothing. The address is where a member would listen: its ports are looked
	// at even before a unit is installed.
	Facts(ctx context.Context, cluster string, address netip.Addr) (Facts, error)
	// Progress asks the cluster's member itself, on the machine, how far it has applied
	// the log; 0 when it does not run, hears nothing from its peers, knows no leader, or
	// cannot read through the quorum. It changes nothing.
	Progress(ctx context.Context, cluster string, member cluster.MemberID) (uint64, error)
	// Sends says whether the cluster's member, on the machine, has sent a peer something
	// or given that up within a moment. A leader does so with each heartbeat, unless it is
	// stuck in a write to a peer that takes nothing any more. It changes nothing.
	Sends(ctx context.Context, cluster string, member, peer cluster.MemberID) (bool, error)
	// PutFiles installs PKI files, each atomically, keys 0600.
	PutFiles(ctx context.Context, req PutFiles) error
	// InstallUnit writes or replaces the unit without touching the process. It
	// refuses a unit that founds a cluster the machine carried a member of
	// before, and extra flags that the unit's etcd, when installed, does not know.
	InstallUnit(ctx context.Context, u cluster.Unit) error
	// StartUnit starts the installed unit unless it runs, and returns when the
	// process runs and the member is sealed: its WAL exists and carries the mark.
	// It refuses a sealed member without its own data, and a first start on
	// anything but an empty directory or this very member's.
	StartUnit(ctx context.Context, cluster string, member cluster.MemberID) error
	// StopUnit stops the process: SIGTERM, SIGKILL after the grace, or once it waits for
	// nothing but watches and leases. Done when it is gone.
	StopUnit(ctx context.Context, req StopUnit) error
	// RetireUnit removes the stopped unit and moves the member's data directory
	// aside, never deleting it. It works on a directory without a unit as well.
	// Set-aside directories beyond the newest are pruned by age and count.
	RetireUnit(ctx context.Context, cluster string, member cluster.MemberID) error
	// Clean removes certificates and the cluster's configuration from a machine
	// that carries no unit any more. Set-aside data stays.
	Clean(ctx context.Context, cluster string) error
	// ReleaseOffset tells how much of a release is there. It changes nothing.
	ReleaseOffset(ctx context.Context, r Release) (ReleaseState, error)
	// PutRelease sends a release's packed form from an offset on, which is at
	// most what ReleaseOffset told, and returns when the binary is in its place,
	// checked. Interrupted, what has come so far stays. It refuses to replace
	// another binary of the same version that a unit uses.
	PutRelease(ctx context.Context, r Release, offset int64, packed io.Reader) error
	// Purge removes everything that CKE put on the machine, set-aside data and
	// the machine's memory included. It refuses while any cluster's unit, data
	// or process is there.
	Purge(ctx context.Context) error
	// Reboot has the machine reboot, in good order, if it still runs that boot. It
	// returns before that. It refuses while a member runs, and where systemd does
	// not run the members.
	Reboot(ctx context.Context, req Reboot) error
	// WaitUnit returns when the unit's running state is no longer `running`, or
	// ctx ends. It is how a member's exit wakes the loop.
	WaitUnit(ctx context.Context, cluster string, running bool) error
	// Preflight measures whether the machine could carry a member that listens at
	// this address: its clock, its data disk, its ports, its limits.
	Preflight(ctx context.Context, cluster string, address netip.Addr) (cluster.Machine, error)
	// ReachPeers connects to the members' ports of other machines.
	ReachPeers(ctx context.Context, req ReachPeers) ([]cluster.Reach, error)
	// AnswerPeers listens on the members' ports of an address, calls listening
	// once it does, and goes on until ctx ends. It refuses a machine that has a
	// unit, and while it listens none is installed or started.
	AnswerPeers(ctx context.Context, req AnswerPeers, listening func(Answering)) error
	// PutGateway installs the machine's gateway, or only brings its list up to
	// date, and returns when the running gateway goes by it. Connections of
	// upstreams that stay are left alone.
	PutGateway(ctx context.Context, g cluster.Gateway) error
	// RemoveGateway stops and removes the machine's gateway; nil when it has none.
	RemoveGateway(ctx context.Context, cluster string) error
	// PutClientFiles installs the API server's client certificate. It refuses a
	// directory that the machine does not allow.
	PutClientFiles(ctx context.Context, req PutClientFiles) error
	// Log streams the last lines of what the cluster's members wrote here; with
	// Follow it goes on until ctx ends or it is closed. It changes nothing.
	Log(ctx context.Context, req LogRequest) (io.ReadCloser, error)
	// Claim makes this machine belong to the caller's store and epoch.
	Claim(ctx context.Context) error
	// Close releases the transport.
	Close() error
}

// FileKind names a PKI file; the helper alone knows where it lies.
type FileKind string

// The files under a cluster's pki directory.
const (
	ServerCert FileKind = "server.crt"
	ServerKey  FileKind = "server.key"
	PeerCert   FileKind = "peer.crt"
	PeerKey    FileKind = "peer.key"
	ClientCA   FileKind = "client-ca.crt"
	PeerCA     FileKind = "peer-ca.crt"
	ClientCRL  FileKind = "client.crl" // DER
)

// PutFiles carries files by kind. Keys must come with their certificates.
type PutFiles struct {
	Cluster string              `json:"cluster"`
	Files   map[FileKind][]byte `json:"files"`
}

// PutClientFiles carries the API server's client certificate.
type PutClientFiles struct {
	Cluster string              `json:"cluster"`
	Files   cluster.ClientFiles `json:"files"` // with every field set
	CA      []byte              `json:"ca"`    // the server CA
	Cert    []byte              `json:"cert"`
	Key     []byte              `json:"key"`
}

// ClientFacts is what a machine knows of the API server's client certificate.
type ClientFacts struct {
	// Files is what was installed last.
	Files   cluster.ClientFiles `json:"files"`
	CA      []byte              `json:"ca,omitempty"`
	Cert    []byte              `json:"cert,omitempty"`
	KeyFits bool                `json:"key_fits"`
	// Drift says, a phrase for each, what of owner and mode is not as installed.
	Drift []string `json:"drift,omitempty"`
}

// StopUnit asks for a stop.
type StopUnit struct {
	Cluster string           `json:"cluster"`
	Member  cluster.MemberID `json:"member"` // refused when another member's unit is installed
	Grace   time.Duration    `json:"grace"`  // between SIGTERM and SIGKILL
}

// Reboot asks for a reboot.
type Reboot struct {
	Boot string `json:"boot"` // the one that is to end
}

// Facts is what a machine knows about one cluster.
type Facts struct {
	Versions  []string           `json:"versions"` // etcd versions installed and verified
	BusyPorts []int              `json:"busy_ports,omitempty"`
	Unit      *cluster.UnitState `json:"unit,omitempty"`
	Data      []cluster.DataDir  `json:"data,omitempty"`
	Aside     []AsideDir         `json:"aside,omitempty"`
	// Public holds the content of public files; for a key, PublicKeyOf says
	// whether it belongs to its certificate.
	Public  map[FileKind][]byte `json:"public,omitempty"`
	KeyFits map[FileKind]bool   `json:"key_fits,omitempty"`
	StoreID string              `json:"store_id,omitempty"` // whom the machine belongs to
	Epoch   int64               `json:"epoch,omitempty"`
	Proof   string              `json:"proof,omitempty"` // of the epoch, as its leader gave it
	Free    int64               `json:"free_bytes"`      // on the data file system
	// Disk is where members' data lies.
	Disk     cluster.Disk `json:"disk,omitzero"`
	Helper   string       `json:"helper"` // the helper's version
	Hostname string       `json:"hostname"`
	// Boot is the kernel's own name for this boot of the machine.
	Boot string `json:"boot"`
	// Runtime is what runs members here: process or systemd.
	Runtime string `json:"runtime"`
	// Foreign says, a sentence for each, what of another etcd is on the machine.
	// It is looked for only where no unit of this cluster is installed.
	Foreign []string `json:"foreign,omitempty"`
	Arch    string   `json:"arch"` // in Go's words: amd64, arm64
	// Gateway is nil when the machine has none.
	Gateway *cluster.GatewayState `json:"gateway,omitempty"`
	// Client is nil when no client certificate was ever installed.
	Client *ClientFacts `json:"client,omitempty"`
}

// AsideDir is a data directory that was moved aside.
type AsideDir struct {
	Name  string    `json:"name"`
	At    time.Time `json:"at"`
	Bytes int64     `json:"bytes"`
}

// Identity is who calls: every request carries it, every mutation is fenced by it.
type Identity struct {
	StoreID string `json:"store_id"`
	Epoch   int64  `json:"epoch"` // negative: the caller leads no more, and sends nothing
	// Elected says that the caller leads after others with the same store, one of
	// which may not know it yet: the machine heeds its epoch from the first look on.
	Elected bool `json:"elected,omitempty"`
	// Proof shows to others with this store that such a leader was there. The machine
	// keeps it beside the epoch, and cannot tell what it is worth.
	Proof string `json:"proof,omitempty"`
}
