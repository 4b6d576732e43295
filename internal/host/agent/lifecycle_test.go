package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// One member's whole life, the same through each transport.
func TestLifeOfAMember(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, u := open(t, b), t.Context(), b.founder()
		wantGuard(t, h.StartUnit(ctx, u.Cluster, u.Member), host.NoUnit)
		b.install(t, h, u)
		must(t, h.StartUnit(ctx, u.Cluster, u.Member))
		pid := b.etcds(t)[0]

		f := facts(t, h, b)
		if !f.Unit.Running || !f.Unit.Sealed || f.Unit.Exit != "" || !f.Unit.Unit.Equal(u) || !f.Unit.Started.Equal(u) {
			t.Fatalf("running: %+v", f.Unit)
		}
		if f.StoreID != "store-a" || f.Epoch != 1 || f.Free <= 0 || f.Hostname == "" || f.Helper == "" ||
			len(f.Versions) != 1 || f.Versions[0] != testVersion || len(f.Public) != 5 ||
			!f.KeyFits[host.ServerKey] || !f.KeyFits[host.PeerKey] {
			t.Fatalf("facts: %+v", f)
		}
		if info, err := os.Stat(b.dataDir(u)); err != nil || info.Mode().Perm() != 0o700 {
			t.Fatalf("data directory: %v %v", info, err)
		}
		if id := memberID(t, b); id != u.Member {
			t.Fatalf("etcd says it is %s, the unit says %s", id, u.Member)
		}

		// Other authorities are read at the next start; what is the same changes nothing.
		if f.Unit.StaleCA {
			t.Fatal("a member that has just begun does not know its authorities")
		}

		// Again is nothing, and so is a unit without its founding.
		must(t, h.StartUnit(ctx, u.Cluster, u.Member))
		u.Founding = nil
		must(t, h.InstallUnit(ctx, u))
		must(t, h.StartUnit(ctx, u.Cluster, u.Member))
		if pids := b.etcds(t); len(pids) != 1 || pids[0] != pid {
			t.Fatalf("another process: %v, was %d", pids, pid)
		}

		// Killed, it is noticed and comes back on its own data.
		b.staysDown(t, u)
		ended := make(chan error, 1)
		go func() { ended <- h.WaitUnit(ctx, u.Cluster, true) }()
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		must(t, <-ended)
		f = facts(t, h, b)
		if f.Unit.Running || !strings.Contains(f.Unit.Exit, "killed") || f.Unit.Log == "" {
			t.Fatalf("killed: %+v", f.Unit)
		}
		started := make(chan error, 1)
		go func() { started <- h.WaitUnit(ctx, u.Cluster, false) }()
		must(t, h.StartUnit(ctx, u.Cluster, u.Member))
		must(t, <-started)
		// etcd reads its certificates as it starts, and once more as it begins to serve, and
		// ends when they do not belong together.
		b.serves(t)

		others := host.PutFiles{Cluster: u.Cluster, Files: newFiles(t, b.addr)}
		for range 2 {
			must(t, h.PutFiles(ctx, others))
			if f = facts(t, h, b); !f.Unit.StaleCA {
				t.Fatalf("the member is not said to have read other authorities: %+v", f.Unit)
			}
		}
		must(t, h.StopUnit(ctx, host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
		must(t, h.StartUnit(ctx, u.Cluster, u.Member))
		must(t, h.PutFiles(ctx, others))
		if f = facts(t, h, b); f.Unit.StaleCA {
			t.Fatal("the member was restarted, and is said to have read other authorities")
		}

		wantGuard(t, h.RetireUnit(ctx, u.Cluster, u.Member), host.StillRunning)
		must(t, h.StopUnit(ctx, host.StopUnit{Cluster: u.Cluster, Member: u.Member, Grace: 10 * time.Second}))
		must(t, h.StopUnit(ctx, host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
		if f = facts(t, h, b); f.Unit.Running || !wasStopped(f.Unit.Exit) {
			t.Fatalf("stopped: %+v", f.Unit)
		}
		retireAndClean(t, b, h, u)
	})
}

// wasStopped: a member that was told to end has ended by itself, or was killed, because
// it took its time though nobody waited for an answer any more.
func wasStopped(exit string) bool { return exit == "signal: terminated" || exit == "signal: killed" }

// serves waits until etcd takes connections on both of its clients' ports.
func (b *box) serves(t *testing.T) {
	t.Helper()
	for _, port := range []uint16{cluster.ClientPort, cluster.ClientHTTPPort} {
		eventually(t, fmt.Sprintf("etcd serves on port %d", port), func() bool {
			conn, err := tls.Dial("tcp", netip.AddrPortFrom(b.addr, port).String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return false
			}
			must(t, conn.Close())
			return true
		})
	}
}

func retireAndClean(t *testing.T, b *box, h host.Host, u cluster.Unit) {
	t.Helper()
	ctx := t.Context()
	wantGuard(t, h.Clean(ctx, u.Cluster), host.InUse)
	must(t, h.RetireUnit(ctx, u.Cluster, u.Member))
	must(t, h.RetireUnit(ctx, u.Cluster, u.Member))
	f := facts(t, h, b)
	if f.Unit != nil || len(f.Data) != 0 || len(f.Aside) != 1 || f.Aside[0].Bytes == 0 ||
		time.Since(f.Aside[0].At) > time.Minute || !strings.HasPrefix(f.Aside[0].Name, u.Member.String()+"-") {
		t.Fatalf("retired: %+v", f)
	}
	if holds, err := b.agent().holdsData(); err != nil || holds != "" {
		t.Fatalf("retired, and still there: %s %v", holds, err)
	}
	must(t, h.Clean(ctx, u.Cluster))
	must(t, h.Clean(ctx, u.Cluster))
	f = facts(t, h, b)
	if len(f.Public) != 0 || len(f.Aside) != 1 {
		t.Fatalf("cleaned: %+v", f)
	}
	if _, err := os.Stat(filepath.Join(b.root, "etc/cke/etcd", u.Cluster)); !os.IsNotExist(err) {
		t.Fatalf("the configuration is still there: %v", err)
	}
}

// memberID is the id etcd has given itself.
func memberID(t *testing.T, b *box) cluster.MemberID {
	t.Helper()
	var id cluster.MemberID
	eventually(t, "etcd tells its id", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://%s:%d/metrics", b.addr, cluster.MetricsPort))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		_, rest, ok := strings.Cut(string(text), `etcd_server_id{server_id="`)
		if !ok {
			return false
		}
		hex, _, _ := strings.Cut(rest, `"`)
		id, err = cluster.ParseMemberID(hex)
		must(t, err)
		return true
	})
	return id
}

// The client port speaks TLS to holders of the right certificate only, and no
// HTTP; HTTP is on loopback, with the same certificates.
func TestClientPort(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u, ca := inProcess(t, b), b.founder(), newCA(t)
	must(t, h.PutFiles(t.Context(), host.PutFiles{Cluster: u.Cluster, Files: ca.files(t, b.addr)}))
	must(t, h.InstallUnit(t.Context(), u))
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	get := func(conf *tls.Config, port int, path string) (int, error) {
		tr := &http.Transport{TLSClientConfig: conf}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get(fmt.Sprintf("https://%s:%d%s", b.addr, port, path))
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	eventually(t, "etcd serves", func() bool {
		code, err := get(ca.client(t, b.addr), cluster.ClientHTTPPort, "/health")
		return err == nil && code == http.StatusOK
	})
	other := newCA(t).client(t, b.addr)
	other.RootCAs = ca.client(t, b.addr).RootCAs
	if code, err := get(other, cluster.ClientHTTPPort, "/health"); err == nil {
		t.Errorf("another authority's certificate gets %d", code)
	}
	for _, path := range []string{"/metrics", "/debug/vars", "/health", "/v3/kv/range"} {
		if code, err := get(ca.client(t, b.addr), cluster.ClientPort, path); err == nil && code == http.StatusOK {
			t.Errorf("the client port serves %s", path)
		}
	}
}

// A member that cannot reach its cluster ends without data; that is told, and
// the call ends with its context meanwhile.
func TestJoiningNobody(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	u.Founding.New = false
	u.Founding.Peers["cp2"] = cluster.URL(b.addr.Next(), cluster.PeerPort)
	b.install(t, h, u)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := h.StartUnit(ctx, u.Cluster, u.Member); err == nil {
		t.Fatal("a member joins nobody")
	}
	if f := facts(t, h, b); f.Unit.Sealed {
		t.Fatalf("%+v", f.Unit)
	}
}

func TestStopKillsAfterTheGrace(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, u := open(t, b), b.founder()
		b.install(t, h, u)
		must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
		if onMachine() {
			// systemd lets a stopped process go on, for it to take the SIGTERM.
			must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
			b.deafEtcd(t)
			must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
			eventually(t, "it is deaf", func() bool {
				return systemctl(t, "show", "--value", "--property=ActiveState", serviceName(u.Cluster)) == "active"
			})
		} else {
			must(t, syscall.Kill(b.etcds(t)[0], syscall.SIGSTOP)) // it takes no SIGTERM then
		}
		begun := time.Now()
		must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member, Grace: 200 * time.Millisecond}))
		if took := time.Since(begun); took < 200*time.Millisecond {
			t.Errorf("killed after %s", took)
		}
		if f := facts(t, h, b); f.Unit.Running || f.Unit.Exit != "signal: killed" {
			t.Fatalf("%+v", f.Unit)
		}
	})
}

// etcd outlives the helper; the next one knows it, waits for it and stops it.
func TestMemberOutlivesItsHelper(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, cmd := startChild(t, b)
	u := b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	must(t, cmd.Process.Kill())
	eventually(t, "the session ends", func() bool {
		_, err := h.Facts(t.Context(), u.Cluster, b.addr)
		return err != nil
	})
	h = inChild(t, b)
	if f := facts(t, h, b); !f.Unit.Running || !f.Unit.Sealed || f.Unit.Started == nil {
		t.Fatalf("%+v", f.Unit)
	}
	ended := make(chan error, 1)
	go func() { ended <- h.WaitUnit(t.Context(), u.Cluster, true) }()
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member, Grace: 10 * time.Second}))
	must(t, <-ended)
	if f := facts(t, h, b); f.Unit.Running || f.Unit.Exit != "ended unseen" && !(onMachine() && wasStopped(f.Unit.Exit)) { // systemd has seen it
		t.Fatalf("%+v", f.Unit)
	}
}
