package cluster

import (
	"net/netip"
	"time"

	"cke/internal/units"
)

// Preflight is what a host must be able to do before it may carry a member.
type Preflight struct {
	// MaxClockSkew is how far its clock may be from cke's.
	MaxClockSkew units.Duration `json:"max_clock_skew,omitzero" yaml:"max_clock_skew,omitempty"`
	// MinFree is the space its data file system must have left; 0 means
	// etcd.quota, also one still to come: ask Spec.MinFree.
	MinFree units.Size `json:"min_free,omitzero" yaml:"min_free,omitempty"`
	// MaxFsync is the most that 99 of 100 small writes may take to reach the disk.
	MaxFsync units.Duration `json:"max_fsync,omitzero" yaml:"max_fsync,omitempty"`
	// MinOpenFiles is how many files a process may at least have open.
	MinOpenFiles int `json:"min_open_files,omitzero" yaml:"min_open_files,omitempty"`
}

func (p Preflight) withDefaults() Preflight {
	if p.MaxClockSkew == 0 {
		p.MaxClockSkew = DefaultMaxClockSkew
	}
	if p.MaxFsync == 0 {
		p.MaxFsync = DefaultMaxFsync
	}
	if p.MinOpenFiles == 0 {
		p.MinOpenFiles = DefaultMinOpenFiles
	}
	return p
}

// MinFree is the space a member's data file system must have left before it is
// placed there.
func (s Spec) MinFree() units.Size {
	if s.Preflight.MinFree != 0 {
		return s.Preflight.MinFree
	}
	return s.Etcd.Quota
}

func (s Spec) validatePreflight(ps *problems) {
	p := s.Preflight
	if p.MaxClockSkew < 0 {
		ps.add("preflight.max_clock_skew", "max_clock_skew %s is not positive", p.MaxClockSkew)
	}
	if p.MinFree < 0 {
		ps.add("preflight.min_free", "min_free %s is not positive; leave it out for etcd.quota", p.MinFree)
	}
	if p.MaxFsync < 0 {
		ps.add("preflight.max_fsync", "max_fsync %s is not positive", p.MaxFsync)
	}
	if p.MinOpenFiles < 0 {
		ps.add("preflight.min_open_files", "min_open_files %d is not positive", p.MinOpenFiles)
	}
}

// Verdict says whether a host passes one check.
type Verdict string

// The verdicts, from good to bad.
const (
	CheckOK   Verdict = "ok"
	CheckWarn Verdict = "warn" // worth a look; blocks nothing
	CheckFail Verdict = "fail"
)

// Check is one thing a host was looked at for.
type Check struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	// Text is what was measured, and the limit it was held against.
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// NodeCheck is everything one host was looked at for.
type NodeCheck struct {
	Node    NodeName  `json:"node"`
	Address string    `json:"address"`
	At      time.Time `json:"at"`
	Checks  []Check   `json:"checks"`
}

// Measured is what was measured of one host for its preflight, at At by cke's
// clock. What it means, the spec's thresholds decide.
type Measured struct {
	At time.Time `json:"at"`
	// Address is the one the node had then.
	Address netip.Addr `json:"address"`
	// Err is why the host could not be measured; nothing else is set then.
	Err  string `json:"err,omitempty"`
	Hint string `json:"hint,omitempty"`
	// Skew is by how much its clock is ahead of cke's, give or take Unsure.
	Skew    time.Duration `json:"skew"`
	Unsure  time.Duration `json:"unsure"`
	Machine Machine       `json:"machine"`
	// Links are its connections with other nodes, both ways.
	Links []Link `json:"links,omitempty"`
}

// Machine is what a machine says of itself.
type Machine struct {
	// Clock is its time when it was asked; Took is how long its answer took.
	Clock time.Time     `json:"clock"`
	Took  time.Duration `json:"took"`
	// Own: the member's address is one of the machine's.
	Own bool `json:"own"`
	// Runs: a member of the cluster runs here; the ports are its.
	Runs      bool   `json:"runs,omitempty"`
	BusyPorts []int  `json:"busy_ports,omitempty"`
	Free      int64  `json:"free_bytes"` // on the data file system
	Fsync     Fsync  `json:"fsync"`
	FsyncErr  string `json:"fsync_err,omitempty"`
	// Runtime is how members are run here.
	Runtime Runtime `json:"runtime"`
	// Systemd is the version of the init system; 0 when it is another one, or
	// no member needs it.
	Systemd int    `json:"systemd,omitempty"`
	Kernel  string `json:"kernel"`
	// OpenFiles is how many files a process may have open at most.
	OpenFiles int64 `json:"open_files"`
	Memory    int64 `json:"memory_bytes"`
}

// Runtime is what keeps a machine's members running.
type Runtime string

// The runtimes.
const (
	RuntimeProcess Runtime = "process" // children of the helper, as in cke dev
	RuntimeSystemd Runtime = "systemd"
)

// Fsync is how long small writes to the data file system took to reach the disk.
type Fsync struct {
	Count int           `json:"count"`
	P50   time.Duration `json:"p50"`
	P99   time.Duration `json:"p99"`
	Max   time.Duration `json:"max"`
}

// Reach is one attempt of a machine to connect to a port of another.
type Reach struct {
	Peer netip.Addr    `json:"peer"`
	Port uint16        `json:"port"`
	Took time.Duration `json:"took"`
	// Source is where the connection comes from: as the other end sees it where
	// that says so, else as the kernel chose it.
	Source netip.Addr `json:"source,omitzero"`
	Err    string     `json:"err,omitempty"` // empty: connected
	// Refused: the other machine was reached and says that nothing listens.
	Refused bool `json:"refused,omitempty"`
}

// Link is a connection between the measured node and another.
type Link struct {
	Other NodeName `json:"other"`
	// Inward: the other node connects to this one.
	Inward bool `json:"inward,omitempty"`
	// Dialer is the address of the node that connects.
	Dialer netip.Addr `json:"dialer"`
	// Listens: a member or a helper is known to listen where it connects to.
	Listens bool `json:"listens,omitempty"`
	// Unasked is why the attempt was not made, or proves nothing.
	Unasked string `json:"unasked,omitempty"`
	Reach
}
