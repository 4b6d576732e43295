package cluster

import (
	"fmt"
	"strconv"
	"time"
)

// Minor is a line of etcd releases: its members have the same formats.
type Minor struct{ Major, Minor int }

func (m Minor) String() string { return fmt.Sprintf("%d.%d", m.Major, m.Minor) }

// Before orders lines.
func (m Minor) Before(o Minor) bool {
	return m.Major < o.Major || m.Major == o.Major && m.Minor < o.Minor
}

// MinorOf is the line of a version such as "3.7.3"; the zero Minor for what is none.
func MinorOf(version string) Minor {
	part := versionForm.FindStringSubmatch(version)
	if part == nil {
		return Minor{}
	}
	var m Minor
	m.Major, _ = strconv.Atoi(part[1]) // at most six digits
	m.Minor, _ = strconv.Atoi(part[2])
	return m
}

// VersionPath says why etcd does not go from one version to another in one
// change, or nothing. It knows one line up and one down, and any patch.
func VersionPath(from, to string) string {
	a, b := MinorOf(from), MinorOf(to)
	switch d := b.Minor - a.Minor; {
	case a == Minor{} || b == Minor{}:
		return fmt.Sprintf("%q or %q is no version of etcd", from, to)
	case a.Major != b.Major:
		return fmt.Sprintf("etcd %s does not become %s: another major version", from, to)
	case d > 1:
		return fmt.Sprintf("etcd goes up one minor version at a time: from %s to %d.%d first", from, a.Major, a.Minor+1)
	case d < -1:
		return fmt.Sprintf("etcd goes down one minor version at a time: from %s to %d.%d first", from, a.Major, a.Minor-1)
	}
	return ""
}

// Snapshot is one that was taken before a change of etcd's version, and checked.
type Snapshot struct {
	From string    `json:"from"` // the versions of the change it was taken for
	To   string    `json:"to"`
	At   time.Time `json:"at"`
	// Host is the machine of the cke that took it, and Path where it lies there.
	Host     string `json:"host,omitempty"`
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"`
	Revision int64  `json:"revision"`
	Hash     uint32 `json:"hash"`
}
