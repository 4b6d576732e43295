package plan

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

const (
	// warnFsync is etcd's own advice for the 99th percentile (etcd.io, FAQ).
	warnFsync = 10 * time.Millisecond
	// minSystemd is the oldest systemd that knows everything a unit of CKE says.
	minSystemd = 239
	// littleMemory is where a member of an empty cluster has no room to grow.
	littleMemory = 1 << 30
)

// CheckNode holds what was measured of a node against the spec. The peers are
// the nodes it must be connected with.
func CheckNode(spec cluster.Spec, n cluster.Node, m cluster.Measured, peers []cluster.Node) []cluster.Check {
	if m.Err != "" {
		return []cluster.Check{{Name: "host", Verdict: cluster.CheckFail, Text: "the host cannot be asked: " + m.Err, Hint: m.Hint}}
	}
	checks := []cluster.Check{
		checkAddress(n, m.Machine), checkPorts(n, m.Machine), checkClock(spec, m), checkSpace(spec, m.Machine),
		checkFsync(spec, m.Machine), checkFiles(spec, m.Machine), checkMemory(m.Machine),
	}
	if m.Machine.Runtime == cluster.RuntimeSystemd {
		checks = append(checks, checkSystemd(m.Machine))
	}
	for _, p := range peers {
		checks = append(checks, checkLinks(p.Hostname, m.Links, false), checkLinks(p.Hostname, m.Links, true))
	}
	return checks
}

// Failed says whether any check failed.
func Failed(checks []cluster.Check) bool {
	return slices.ContainsFunc(checks, func(c cluster.Check) bool { return c.Verdict == cluster.CheckFail })
}

func passed(name, format string, args ...any) cluster.Check {
	return cluster.Check{Name: name, Verdict: cluster.CheckOK, Text: fmt.Sprintf(format, args...)}
}

func doubtful(c cluster.Check, hint string) cluster.Check {
	c.Verdict, c.Hint = cluster.CheckWarn, hint
	return c
}

func failed(c cluster.Check, hint string) cluster.Check {
	c.Verdict, c.Hint = cluster.CheckFail, hint
	return c
}

func checkAddress(n cluster.Node, m cluster.Machine) cluster.Check {
	if m.Own {
		return passed("address", "%s is the machine's", n.Address)
	}
	return failed(passed("address", "%s is none of the machine's addresses", n.Address),
		"a member listens on exactly this address: give the machine the address, or the node another one")
}

func checkPorts(n cluster.Node, m cluster.Machine) cluster.Check {
	if len(m.BusyPorts) > 0 {
		return failed(passed("ports", "ports %v of %s are in use by another program", m.BusyPorts, n.Address), "stop it, or choose another address")
	}
	if m.Runs {
		return passed("ports", "%d and %d are its member's", cluster.ClientPort, cluster.PeerPort)
	}
	return passed("ports", "%d and %d are free", cluster.ClientPort, cluster.PeerPort)
}

// checkClock blames a clock only for what the time a question took cannot explain.
func checkClock(spec cluster.Spec, m cluster.Measured) cluster.Check {
	most := spec.Preflight.MaxClockSkew
	word := "ahead of"
	if m.Skew < 0 {
		word = "behind"
	}
	c := passed("clock", "%s %s cke's (at most %s)", short(m.Skew.Abs()), word, most)
	if m.Skew.Abs()-m.Unsure <= most.Std() {
		return c
	}
	return failed(c, "let chrony or systemd-timesyncd keep the time, on cke's own machine too: certificates and leases depend on it")
}

func checkSpace(spec cluster.Spec, m cluster.Machine) cluster.Check {
	least := spec.MinFree()
	c := passed("space", "%s free for its data (at least %s)", roundSize(m.Free), least)
	if m.Free >= int64(least) {
		return c
	}
	return failed(c, "make room on the data file system, or lower etcd.quota, or preflight.min_free, which is as much unless set")
}

func checkFsync(spec cluster.Spec, m cluster.Machine) cluster.Check {
	most := spec.Preflight.MaxFsync.Std()
	if m.FsyncErr != "" || m.Fsync.Count == 0 {
		return failed(passed("fsync", "the data disk's speed could not be measured: %s", orElse(m.FsyncErr, "no write was made")),
			"a member could not write its log there either")
	}
	c := passed("fsync", "99%% of %d small writes reach the disk within %s (at most %s, half within %s)",
		m.Fsync.Count, short(m.Fsync.P99), spec.Preflight.MaxFsync, short(m.Fsync.P50))
	switch {
	case m.Fsync.P99 > most:
		return failed(c, "give etcd a faster disk, or one of its own; preflight.max_fsync is the limit")
	case m.Fsync.P99 > warnFsync:
		return doubtful(c, "etcd advises a disk that takes less than 10ms")
	}
	return c
}

func checkFiles(spec cluster.Spec, m cluster.Machine) cluster.Check {
	least := int64(spec.Preflight.MinOpenFiles)
	most := fmt.Sprint(m.OpenFiles)
	if m.OpenFiles > math.MaxInt32 {
		most = "any number of"
	}
	c := passed("files", "a process may have %s files open (at least %d)", most, least)
	if m.OpenFiles >= least {
		return c
	}
	return failed(c, "raise the hard limit of open files; each client's connection is one")
}

func checkMemory(m cluster.Machine) cluster.Check {
	c := passed("memory", "%s, Linux %s", roundSize(m.Memory), m.Kernel)
	if m.Memory < littleMemory {
		return doubtful(c, "etcd keeps its index and its clients' watches in memory; 2 GiB is little, 8 GiB usual")
	}
	return c
}

func checkSystemd(m cluster.Machine) cluster.Check {
	if m.Systemd == 0 {
		return failed(passed("systemd", "the machine is not run by systemd"), "members are units of systemd; version 239 or newer is needed")
	}
	c := passed("systemd", "version %d (at least %d)", m.Systemd, minSystemd)
	if m.Systemd < minSystemd {
		return failed(c, "upgrade the operating system")
	}
	return c
}

// checkLinks is one direction between a node and another, both ports.
func checkLinks(other cluster.NodeName, links []cluster.Link, inward bool) cluster.Check {
	name := "to " + string(other)
	if inward {
		name = "from " + string(other)
	}
	worst := passed(name, "")
	var texts []string
	var took time.Duration
	reached := 0
	for _, l := range links {
		if l.Other != other || l.Inward != inward {
			continue
		}
		c := checkLink(l)
		took = max(took, l.Took)
		if c.Verdict == cluster.CheckOK {
			reached++
			continue
		}
		texts = append(texts, c.Text)
		if worst.Verdict != cluster.CheckFail {
			worst.Verdict, worst.Hint = c.Verdict, c.Hint
		}
	}
	switch {
	case len(texts) > 0:
		slices.Sort(texts)
		worst.Text = strings.Join(slices.Compact(texts), "; ")
	case reached == 0:
		return doubtful(passed(name, "it was not tried"), "")
	default:
		worst.Text = fmt.Sprintf("%d and %d are reached in %s", cluster.ClientPort, cluster.PeerPort, short(took))
	}
	return worst
}

func checkLink(l cluster.Link) cluster.Check {
	c := cluster.Check{Verdict: cluster.CheckOK}
	switch {
	case l.Unasked != "":
		c.Text = "it was not tried: " + l.Unasked
		return doubtful(c, "")
	case l.Refused && !l.Listens:
		c.Text = fmt.Sprintf("port %d: nothing listens there now", l.Port)
		return doubtful(c, "")
	case l.Err != "":
		c.Text = fmt.Sprintf("port %d is not reached: %s", l.Port, l.Err)
		return failed(c, fmt.Sprintf("open %d and %d between all members, in every firewall on the way", cluster.ClientPort, cluster.PeerPort))
	case foreignSource(l):
		c.Text = fmt.Sprintf("connections come from %s, not from %s", l.Source, l.Dialer)
		return failed(c, "etcd refuses a peer whose source address is not in its certificate: route the members' traffic from that address, or name the node by the other one")
	}
	return c
}

// foreignSource: on loopback the kernel always takes 127.0.0.1, and the
// certificates of such members say so.
func foreignSource(l cluster.Link) bool {
	return l.Port == cluster.PeerPort && l.Source.IsValid() && l.Dialer.IsValid() && l.Source != l.Dialer && !isLocal(l.Source, l.Dialer)
}

func isLocal(source, dialer netip.Addr) bool { return source.IsLoopback() && dialer.IsLoopback() }

// short rounds to what a person reads.
func short(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	default:
		return d.Round(10 * time.Microsecond)
	}
}

func roundSize(n int64) units.Size {
	for _, u := range []int64{1 << 40, 1 << 30, 1 << 20} {
		if n >= 10*u {
			return units.Size(n / u * u)
		}
	}
	return units.Size(n >> 10 << 10)
}
