package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

const testToken = "TOKEN-1"

func TestPreflightMeasures(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, before := open(t, b), time.Now()
		m, err := h.Preflight(t.Context(), testCluster, b.addr)
		must(t, err)
		if m.Clock.Before(before) || m.Clock.Add(m.Took).After(time.Now()) || m.Took <= 0 {
			t.Errorf("clock %s took %s, asked at %s", m.Clock, m.Took, before)
		}
		if f := m.Fsync; m.FsyncErr != "" || f.Count < 1 || f.P50 <= 0 || f.P50 > f.P99 || f.P99 > f.Max {
			t.Errorf("fsync %+v %s", f, m.FsyncErr)
		}
		if !m.Own || m.Runs || len(m.BusyPorts) > 0 || m.Free <= 0 || m.Kernel == "" || m.OpenFiles < 256 || m.Memory < 1<<20 {
			t.Errorf("%+v", m)
		}
		// Nothing of it stays, nor of one that was killed in the midst of it.
		probe := filepath.Join(b.agent().layout.dataRoot(), probeName)
		must(t, os.WriteFile(probe, []byte("left over"), 0o600))
		_, err = h.Preflight(t.Context(), testCluster, netip.MustParseAddr("192.0.2.7"))
		must(t, err)
		if _, err := os.Stat(probe); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the probe's file is still there: %v", err)
		}
	})
}

func TestPreflightTellsBusyPortsAndForeignAddresses(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		l, err := net.Listen("tcp", netip.AddrPortFrom(b.addr, cluster.PeerPort).String())
		must(t, err)
		defer l.Close()
		h := open(t, b)
		m, err := h.Preflight(t.Context(), testCluster, b.addr)
		must(t, err)
		if !slices.Equal(m.BusyPorts, []int{cluster.PeerPort}) {
			t.Errorf("busy %v", m.BusyPorts)
		}
		m, err = h.Preflight(t.Context(), testCluster, netip.MustParseAddr("192.0.2.7"))
		must(t, err)
		if m.Own {
			t.Error("192.0.2.7 is the machine's")
		}
	})
}

func TestPreflightOfAMember(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	m, err := h.Preflight(t.Context(), testCluster, b.addr)
	must(t, err)
	if !m.Runs || len(m.BusyPorts) > 0 {
		t.Errorf("%+v", m)
	}
	err = h.AnswerPeers(t.Context(), host.AnswerPeers{Cluster: testCluster, Address: b.addr, Token: testToken}, func(host.Answering) { t.Error("it listens") })
	wantGuard(t, err, host.InUse)
	err = h.AnswerPeers(t.Context(), host.AnswerPeers{Cluster: "other", Address: b.addr, Token: testToken}, func(host.Answering) { t.Error("it listens") })
	wantGuard(t, err, host.InUse)
}

// answers makes a machine answer, and returns what ends that.
func answers(t *testing.T, h host.Host, addr netip.Addr) (ports []uint16, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	listening, ended := make(chan []uint16, 1), make(chan error, 1)
	go func() {
		ended <- h.AnswerPeers(ctx, host.AnswerPeers{Cluster: testCluster, Address: addr, Token: testToken}, func(a host.Answering) { listening <- a.Ports })
	}()
	select {
	case ports = <-listening:
	case err := <-ended:
		t.Fatalf("it does not listen: %v", err)
	}
	return ports, func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("answer peers: %v", err)
		}
	}
}

func TestPeersAnswerAndAreReached(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, other := open(t, b), newBox(t)
		from := open(t, other)
		ports, end := answers(t, h, b.addr)
		if !slices.Equal(ports, memberPorts()) {
			t.Fatalf("it listens on %v", ports)
		}
		req := host.ReachPeers{Cluster: testCluster, Token: testToken, Peers: []host.Peer{{Address: b.addr, Greets: ports}}}
		var reached []cluster.Reach
		eventually(t, "every port is reached", func() bool { // the machine may stand still for longer than a port has
			var err error
			reached, err = from.ReachPeers(t.Context(), req)
			must(t, err)
			return !slices.ContainsFunc(reached, func(r cluster.Reach) bool { return r.Err != "" })
		})
		for i, r := range reached {
			if r.Err != "" || r.Peer != b.addr || r.Port != memberPorts()[i] || !r.Source.IsLoopback() || r.Took <= 0 {
				t.Errorf("%+v", r)
			}
		}
		// Its own ports count as free meanwhile, here and in the facts.
		m, err := h.Preflight(t.Context(), testCluster, b.addr)
		must(t, err)
		if len(m.BusyPorts) > 0 || len(facts(t, h, b).BusyPorts) > 0 {
			t.Errorf("its own ports are busy: %v", m.BusyPorts)
		}
		// No unit is installed meanwhile.
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := h.InstallUnit(short, b.founder()); err == nil {
			t.Error("a unit is installed")
		}
		req.Token = "ANOTHER"
		reached, err = from.ReachPeers(t.Context(), req)
		must(t, err)
		if len(reached) != 2 || !strings.Contains(reached[0].Err, "another program or machine") {
			t.Errorf("with another token: %+v", reached)
		}
		end()
		must(t, h.InstallUnit(t.Context(), b.founder())) // waits for the end
		for _, port := range memberPorts() {
			l, err := net.Listen("tcp", netip.AddrPortFrom(b.addr, port).String())
			must(t, err)
			must(t, l.Close())
		}
		reached, err = from.ReachPeers(t.Context(), req)
		must(t, err)
		if r := reached[1]; !r.Refused || r.Err != "connection refused" {
			t.Errorf("after the end: %+v", r)
		}
	})
}

func TestAnAnswerLeavesOthersTheirPorts(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	l, err := net.Listen("tcp", netip.AddrPortFrom(b.addr, cluster.ClientPort).String())
	must(t, err)
	defer l.Close()
	h := inProcess(t, b)
	ports, end := answers(t, h, b.addr)
	defer end()
	if !slices.Equal(ports, []uint16{cluster.PeerPort}) {
		t.Errorf("it listens on %v", ports)
	}
	if f := facts(t, h, b); !slices.Equal(f.BusyPorts, []int{cluster.ClientPort}) {
		t.Errorf("busy %v", f.BusyPorts)
	}
}

func TestPreflightRefusesWhatIsNoName(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, before := open(t, b), b.tree(t)
		never := func(host.Answering) { t.Error("it listens") }
		for _, name := range hostile() {
			_, err := h.Preflight(t.Context(), name, b.addr)
			wantInvalid(t, err)
			_, err = h.ReachPeers(t.Context(), host.ReachPeers{Cluster: name, Token: testToken})
			wantInvalid(t, err)
			_, err = h.ReachPeers(t.Context(), host.ReachPeers{Cluster: testCluster, Token: name + "\n"})
			wantInvalid(t, err)
			wantInvalid(t, h.AnswerPeers(t.Context(), host.AnswerPeers{Cluster: name, Address: b.addr, Token: testToken}, never))
			wantInvalid(t, h.AnswerPeers(t.Context(), host.AnswerPeers{Cluster: testCluster, Address: b.addr, Token: name + "\n"}, never))
		}
		for _, addr := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("fe80::1%lo")} {
			_, err := h.Preflight(t.Context(), testCluster, addr)
			wantInvalid(t, err)
			wantInvalid(t, h.AnswerPeers(t.Context(), host.AnswerPeers{Cluster: testCluster, Address: addr, Token: testToken}, never))
			_, err = h.ReachPeers(t.Context(), host.ReachPeers{Cluster: testCluster, Token: testToken, Peers: []host.Peer{{Address: addr}}})
			wantInvalid(t, err)
		}
		_, err := h.ReachPeers(t.Context(), host.ReachPeers{Cluster: testCluster, Token: testToken, Peers: make([]host.Peer, maxPeers+1)})
		wantInvalid(t, err)
		if after := b.tree(t); !slices.Equal(before, after) {
			t.Errorf("there is now %q", after)
		}
	})
}

func TestAnotherStoreIsNotAnswered(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	must(t, h.Claim(t.Context()))
	b.id.Store(&host.Identity{StoreID: "store-b", Epoch: 9})
	err := h.AnswerPeers(t.Context(), host.AnswerPeers{Cluster: testCluster, Address: b.addr, Token: testToken}, func(host.Answering) { t.Error("it listens") })
	var f *host.FencedError
	if !errors.As(err, &f) || !f.OtherStore {
		t.Errorf("got %v", err)
	}
}

// disk is a file whose writes take their time, or fail.
type disk struct {
	each time.Duration
	err  error
}

func (d disk) WriteAt(b []byte, _ int64) (int, error) { return len(b), d.err }
func (d disk) Sync() error {
	if d.each > 0 { // a timer that is due at once crashes Go 1.26's race detector in a bubble now and then
		<-time.After(d.each)
	}
	return nil
}
func (d disk) Close() error { return nil }

func TestFsyncIsBounded(t *testing.T) {
	t.Parallel()
	for each, count := range map[time.Duration]int{
		0:                     fsyncMost,
		3 * time.Millisecond:  fsyncEnough, // each was quick
		15 * time.Millisecond: 34,          // none was, so that it goes on for half a second
		60 * time.Millisecond: 9,
	} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			f, err := measureFsync(t.Context(), disk{each: each})
			must(t, err)
			if f.Count != count || f.P50 != each || f.Max != each || time.Since(begin) != time.Duration(count)*each {
				t.Errorf("syncs of %s: %+v in %s, want %d", each, f, time.Since(begin), count)
			}
		})
	}
	if _, err := measureFsync(t.Context(), disk{err: unix.ENOSPC}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f, err := measureFsync(ctx, disk{each: time.Second}); err != nil || f.Count != 0 {
		t.Errorf("given up: %+v, %v", f, err)
	}
}

// TestADiskThatStandsStill is measured as far as who asks would wait; one that hangs is
// given up.
func TestADiskThatStandsStill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, err := inTime(t.Context(), disk{each: 5 * time.Second})
		if err != nil || f.Count != 1 || f.P99 != 5*time.Second {
			t.Errorf("still for 5 s: %+v, %v", f, err)
		}
		begin := time.Now()
		if _, err := inTime(t.Context(), disk{each: time.Hour}); err == nil || !strings.Contains(err.Error(), "has not reached the disk after 6s") {
			t.Errorf("one that hangs: %v", err)
		}
		if took := time.Since(begin); took != fsyncHangs {
			t.Errorf("given up after %s", took)
		}
		<-time.After(2 * time.Hour) // until nobody writes any more
	})
}

// TestFullDisk measures on a file system without a byte left, where it may
// mount one.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	root := b.agent().layout.dataRoot()
	must(t, os.MkdirAll(root, 0o700))
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	defer func() { must(t, unix.Unmount(root, 0)) }()
	m, err := inProcess(t, b).Preflight(t.Context(), testCluster, b.addr)
	must(t, err)
	if !strings.Contains(m.FsyncErr, "no space left on device") || m.Free > 64<<10 {
		t.Errorf("%+v", m)
	}
	if got, err := names(root); err != nil || len(got) != 0 {
		t.Errorf("left over: %q, %v", got, err)
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 99, 100} {
		var took []time.Duration
		for i := range n {
			took = append(took, time.Duration(n-i))
		}
		want := cluster.Fsync{Count: n, P50: time.Duration((n + 1) / 2), P99: time.Duration(min(n, 99)), Max: time.Duration(n)}
		if got := percentiles(took); got != want {
			t.Errorf("of %d: %+v, want %+v", n, got, want)
		}
	}
}

func TestParseSystemd(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]int{
		"systemd 252 (252.36-1~deb12u1)\n+PAM +AUDIT\n": 252, "systemd 257~rc1 (257)\n": 257, "systemd x": 0, "": 0, "bash: systemctl": 0,
	} {
		if got, err := parseSystemd(out); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", out, got, err)
		}
	}
}

func TestParseOpenFiles(t *testing.T) {
	t.Parallel()
	const line = "Max cpu time              unlimited  unlimited  seconds\nMax open files            1024                 %s               files     \n"
	for hard, want := range map[string]int64{"524288": 524288, "unlimited": 1 << 62} {
		if got, err := parseOpenFiles(fmt.Sprintf(line, hard)); got != want || err != nil {
			t.Errorf("%s: %d, %v", hard, got, err)
		}
	}
	if _, err := parseOpenFiles("Max cpu time"); err == nil {
		t.Error("no line is no error")
	}
}
