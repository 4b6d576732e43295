//go:build machine

package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cke/internal/cluster"
	"cke/internal/host"
)

// gatewayShow is a property of the gateway's unit as systemctl has it.
func gatewayShow(t testing.TB, property string) string {
	t.Helper()
	return systemctl(t, "show", "--value", "--property="+property, gatewayService)
}

// echo stands for a member: who connects gets back what it sends.
func echo(t testing.TB, addr netip.Addr) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", netip.AddrPortFrom(addr, cluster.ClientPort).String())
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed above
			}
			go func() {
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					if _, err := fmt.Fprintln(c, lines.Text()); err != nil {
						break
					}
				}
				_ = c.Close()
			}()
		}
	}()
}

// through is a connection over the gateway.
type through struct {
	net.Conn
	answers *bufio.Scanner
}

func connect(t testing.TB, port uint16) *through {
	t.Helper()
	var c net.Conn
	eventually(t, "the gateway takes a connection", func() (ok bool) {
		var err error
		c, err = new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil
	})
	t.Cleanup(func() { _ = c.Close() })
	th := &through{c, bufio.NewScanner(c)}
	th.speaks(t)
	return th
}

func (c *through) speaks(t testing.TB) {
	t.Helper()
	_, err := fmt.Fprintln(c, "hello")
	must(t, err)
	if !c.answers.Scan() || c.answers.Text() != "hello" {
		t.Fatalf("the answer is %q: %v", c.answers.Text(), c.answers.Err())
	}
}

// noGateway: nothing of it is left on the machine.
func noGateway(t testing.TB) {
	t.Helper()
	for _, path := range []string{
		"/etc/systemd/system/" + gatewayService, "/etc/systemd/system/multi-user.target.wants/" + gatewayService,
		"/opt/cke/gateway/cke-gateway", "/var/lib/cke/gateway/" + testCluster + ".json", "/run/cke-gateway",
	} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
	if got := gatewayShow(t, "LoadState") + " " + gatewayShow(t, "ActiveState"); got != "not-found inactive" {
		t.Errorf("its unit is %s", got)
	}
}

// applied is the gateway's state, once it goes by a list.
func applied(t testing.TB, h host.Host, b *box, want cluster.Gateway) *cluster.GatewayState {
	t.Helper()
	st := facts(t, h, b).Gateway
	if st == nil || !st.Running || !st.Applied || st.Outdated || st.Exit != "" || !sameGateway(st.Gateway, want) {
		t.Fatalf("%+v, want %+v", st, want)
	}
	return st
}

// appliesSoon waits until a gateway that somebody else has started goes by its list.
func appliesSoon(t testing.TB, h host.Host, b *box, want cluster.Gateway) {
	t.Helper()
	eventually(t, "it goes by its list", func() bool {
		st := facts(t, h, b).Gateway
		return st != nil && st.Running && st.Applied
	})
	applied(t, h, b, want)
}

// A gateway's whole life, the same through each transport.
func TestLifeOfAGateway(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, second := open(t, b), t.Context(), b.addr.Next()
		echo(t, b.addr)
		echo(t, second)
		must(t, h.RemoveGateway(ctx, testCluster))
		one, both := gatewayTo(b.addr), gatewayTo(b.addr, second)
		must(t, h.PutGateway(ctx, one))
		pid := gatewayShow(t, "MainPID")
		if st := applied(t, h, b, one); st.Connections["cp1"] != 0 {
			t.Errorf("%+v", st)
		}
		c := connect(t, one.Port)

		// A new list, and the same again, in whatever order, touch no connection.
		must(t, h.PutGateway(ctx, both))
		turned := both
		turned.Upstreams = []cluster.Upstream{both.Upstreams[1], both.Upstreams[0]}
		must(t, h.PutGateway(ctx, turned))
		if st := applied(t, h, b, both); st.Connections["cp1"] != 1 {
			t.Errorf("%+v", st)
		}
		c.speaks(t)

		// What drains is left, the others are not.
		drain := gatewayTo(b.addr, second)
		drain.Upstreams[1].Draining = true
		must(t, h.PutGateway(ctx, drain))
		applied(t, h, b, drain)
		c.speaks(t)
		if now := gatewayShow(t, "MainPID"); now != pid {
			t.Errorf("it was restarted: %s, was %s", now, pid)
		}

		// Another port is another ear of the same process.
		moved := both
		moved.Port++
		must(t, h.PutGateway(ctx, moved))
		applied(t, h, b, moved)
		connect(t, moved.Port)
		c.speaks(t)

		must(t, h.RemoveGateway(ctx, "another"))
		applied(t, h, b, moved)
		must(t, h.RemoveGateway(ctx, testCluster))
		must(t, h.RemoveGateway(ctx, testCluster))
		noGateway(t)
		if f := facts(t, h, b); f.Gateway != nil {
			t.Errorf("removed: %+v", f.Gateway)
		}
	})
}

// It lives without CKE: from boot on, and after each end.
func TestGatewayRunsWithoutCKE(t *testing.T) {
	b := newBox(t)
	h := inProcess(t, b)
	echo(t, b.addr)
	list := gatewayTo(b.addr)
	must(t, h.PutGateway(t.Context(), list))
	for range 3 {
		pid := gatewayShow(t, "MainPID")
		must(t, syscall.Kill(atoi(t, pid), syscall.SIGKILL))
		eventually(t, "another process", func() bool { now := gatewayShow(t, "MainPID"); return now != "0" && now != pid })
		connect(t, list.Port)
	}
	appliesSoon(t, h, b, list)
	if got := gatewayShow(t, "UnitFileState"); got != "enabled" {
		t.Errorf("it is %s", got)
	}
	// What boot does, short of it.
	systemctl(t, "stop", gatewayService)
	if st := facts(t, h, b).Gateway; st.Running || st.Applied || st.Exit == "" {
		t.Errorf("stopped: %+v", st)
	}
	systemctl(t, "daemon-reload")
	systemctl(t, "start", bootTarget)
	eventually(t, "it runs", func() bool { return gatewayShow(t, "ActiveState") == "active" })
	connect(t, list.Port)
	appliesSoon(t, h, b, list)

	// Stopped by hand, it is started with the next list.
	systemctl(t, "stop", gatewayService)
	must(t, h.PutGateway(t.Context(), list))
	applied(t, h, b, list)
}

// It has no privilege, can write nowhere, and sees no secret.
func TestGatewayIsConfined(t *testing.T) {
	b := newBox(t)
	h := inProcess(t, b)
	must(t, h.PutGateway(t.Context(), gatewayTo(b.addr)))
	for property, want := range map[string]string{
		"DynamicUser": "yes", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "AmbientCapabilities": "",
		"ProtectSystem": "strict", "ProtectHome": "yes", "MemoryDenyWriteExecute": "yes", "PrivateDevices": "yes",
		"ReadWritePaths": "", "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "Restart": "always", "NeedDaemonReload": "no",
	} {
		got := strings.Fields(gatewayShow(t, property))
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s is %q, not %q", property, got, want)
		}
	}
	pid := gatewayShow(t, "MainPID")
	status, err := os.ReadFile("/proc/" + pid + "/status")
	must(t, err)
	for _, line := range []string{"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), line) {
			t.Errorf("the process lacks %q:\n%s", line, status)
		}
	}
	if uid, _, err := ownerOf("/proc/" + pid); err != nil || uid < 61184 || uid > 65519 {
		t.Errorf("it runs as uid %d: %v", uid, err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", gatewayService).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v %s", err, out)
	}
}

// The process is replaced when its unit or its language is an older one, and
// for nothing else.
func TestGatewayIsRestartedForAReason(t *testing.T) {
	b := newBox(t)
	h, list := inProcess(t, b), gatewayTo(b.addr)
	g := b.agent().gateways
	must(t, h.PutGateway(t.Context(), list))
	for name, c := range map[string]struct {
		age      func(t *testing.T)
		outdated bool
	}{
		"an older unit": {func(t *testing.T) {
			path := "/etc/systemd/system/" + gatewayService
			text, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, []byte(strings.Replace(string(text), "CKE_UNIT=", "CKE_UNIT=0", 1)), 0o644))
			systemctl(t, "daemon-reload")
			systemctl(t, "restart", gatewayService)
		}, false},
		"an older language": {func(t *testing.T) { must(t, writeJSON(g.recordPath(), gatewayRecord{Version: 0})) }, true},
		"no program":        {func(t *testing.T) { must(t, os.Remove(g.layout.gatewayProgram())) }, true},
		"a torn program": {func(t *testing.T) {
			must(t, os.WriteFile(g.layout.gatewayProgram()+".x", nil, 0o755))
			must(t, os.Rename(g.layout.gatewayProgram()+".x", g.layout.gatewayProgram()))
		}, true},
	} {
		c.age(t)
		pid := gatewayShow(t, "MainPID")
		if st := facts(t, h, b).Gateway; st.Outdated != c.outdated {
			t.Errorf("%s: %+v", name, st)
		}
		must(t, h.PutGateway(t.Context(), list))
		applied(t, h, b, list)
		now := gatewayShow(t, "MainPID")
		if now == pid {
			t.Errorf("%s: it was not restarted", name)
		}
		if exe, err := os.Readlink("/proc/" + now + "/exe"); err != nil || exe != g.layout.gatewayProgram() {
			t.Errorf("%s: it runs %s: %v", name, exe, err)
		}
		must(t, h.PutGateway(t.Context(), list))
		if again := gatewayShow(t, "MainPID"); again != now {
			t.Errorf("%s: restarted once more", name)
		}
	}
	if got, err := os.ReadFile(g.layout.gatewayProgram()); err != nil || sumOf(got) != sumOfHelper(t) {
		t.Errorf("the program is not the helper's: %v", err)
	}
}

func sumOfHelper(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(helperProgram)
	must(t, err)
	return sumOf(b)
}

func gatewayPoints() []string {
	return []string{"gateway:list", "gateway:program", "gateway:unit", "gateway:started"}
}

// Killed anywhere, the same call ends with a gateway that goes by its list, and
// the other with none.
func TestGatewayIsFinishedAfterACrash(t *testing.T) {
	b := newBox(t)
	var reached []string
	a := b.agent()
	a.reached = func(p string) { reached = append(reached, p) }
	h, list := host.Local(a.Handler(), b.identity), gatewayTo(b.addr)
	must(t, h.PutGateway(t.Context(), list))
	must(t, h.RemoveGateway(t.Context(), testCluster))
	if want := append(gatewayPoints(), "gateway:removed"); !slices.Equal(reached, want) {
		t.Fatalf("reached %q, the crash tests walk %q", reached, want)
	}
	for _, point := range gatewayPoints() {
		crash(t, b, crashJob{Gateway: &list}, point)
		must(t, h.PutGateway(t.Context(), list))
		applied(t, h, b, list)
		must(t, h.RemoveGateway(t.Context(), testCluster))
		noGateway(t)
		crash(t, b, crashJob{Gateway: &list}, point)
		must(t, h.RemoveGateway(t.Context(), testCluster))
		noGateway(t)
	}
	must(t, h.PutGateway(t.Context(), list))
	crash(t, b, crashJob{NoGateway: true}, "gateway:removed")
	must(t, h.PutGateway(t.Context(), list))
	applied(t, h, b, list)
	crash(t, b, crashJob{NoGateway: true}, "gateway:removed")
	must(t, h.RemoveGateway(t.Context(), testCluster))
	noGateway(t)
}

// purge takes a running gateway with it.
func TestPurgeRemovesAGateway(t *testing.T) {
	b := newBox(t)
	must(t, os.RemoveAll(b.releases)) // what the test put there is not CKE's
	h := inProcess(t, b)
	must(t, h.PutGateway(t.Context(), gatewayTo(b.addr)))
	crash(t, b, crashJob{Purge: true}, "purge:gateway")
	noGateway(t)
	must(t, h.PutGateway(t.Context(), gatewayTo(b.addr)))
	must(t, h.Purge(context.WithoutCancel(t.Context())))
	noGateway(t)
	onlyRoot(t, b)
}
