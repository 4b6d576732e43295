//go:build machine

package agent

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/host"
)

func TestGatewayStandsInNobodysPlace(t *testing.T) {
	path := "/etc/systemd/system/" + gatewayService
	for name, c := range map[string]struct {
		put  func(t *testing.T, b *box)
		kind host.GuardKind
		says string
	}{
		"another's unit": {func(t *testing.T, _ *box) {
			must(t, os.WriteFile(path, []byte("[Service]\nExecStart=/bin/sleep 600\n"), 0o644))
			systemctl(t, "daemon-reload")
			systemctl(t, "start", gatewayService)
		}, host.Overridden, "is not CKE's"},
		"a masked unit": {func(t *testing.T, _ *box) {
			must(t, os.Symlink("/dev/null", path))
			systemctl(t, "daemon-reload")
		}, host.Overridden, "masked"},
		"a unit elsewhere": {func(t *testing.T, _ *box) {
			other := "/run/systemd/system/" + gatewayService
			must(t, os.WriteFile(other, []byte("[Service]\nExecStart=/bin/sleep 600\n"), 0o644))
			systemctl(t, "daemon-reload")
			t.Cleanup(func() { must(t, os.Remove(other)); systemctl(t, "daemon-reload") })
		}, host.Overridden, "is read from /run/systemd/system/"},
		"a port in use": {func(t *testing.T, _ *box) {
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", cluster.DefaultGatewayPort))
			must(t, err)
			t.Cleanup(func() { _ = l.Close() })
		}, host.PortInUse, fmt.Sprintf("process %d (agent.test)", os.Getpid())},
		"another cluster's": {func(t *testing.T, b *box) {
			g := gatewayTo(b.addr)
			g.Cluster = "another"
			must(t, inProcess(t, b).PutGateway(t.Context(), g))
		}, host.InUse, "leads to cluster another"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			c.put(t, b)
			h := inProcess(t, b)
			err := h.PutGateway(t.Context(), gatewayTo(b.addr))
			wantGuard(t, err, c.kind)
			if !strings.Contains(err.Error(), c.says) {
				t.Error(err)
			}
			before := gatewayShow(t, "ActiveState")
			must(t, h.RemoveGateway(t.Context(), testCluster))
			if now := gatewayShow(t, "ActiveState"); now != before {
				t.Errorf("it was %s, and is %s", before, now)
			}
			if f := facts(t, h, b); f.Gateway != nil {
				t.Errorf("%+v", f.Gateway)
			}
		})
	}
}

// What keeps it from running is told.
func TestGatewayThatCannotStart(t *testing.T) {
	b := newBox(t)
	h, list := inProcess(t, b), gatewayTo(b.addr)
	g := b.agent().gateways
	must(t, h.PutGateway(t.Context(), list))
	must(t, os.WriteFile(g.layout.gatewayList(testCluster), []byte("{}\n"), 0o644))
	systemctl(t, "kill", "--signal=KILL", gatewayService)
	eventually(t, "it says why", func() bool {
		// It tries again every second: in between it runs for a moment.
		st := facts(t, h, b).Gateway
		return strings.Contains(st.Exit, "exit status 1: ") && strings.Contains(st.Exit, "names no cluster")
	})
	must(t, h.PutGateway(t.Context(), list))
	applied(t, h, b, list)
	// A list that is spoilt does not stop what runs; it is put right.
	must(t, os.WriteFile(g.layout.gatewayList(testCluster), []byte("{}\n"), 0o644))
	eventually(t, "it is noticed", func() bool { return !facts(t, h, b).Gateway.Applied })
	must(t, h.PutGateway(t.Context(), list))
	applied(t, h, b, list)
}
