package hosts

import (
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cke/internal/host"
	"cke/test/lab"
)

// helper opens a session of its own to a machine's helper, as whoever it says.
func (e *env) helper(i int, id host.Identity) host.Host {
	e.t.Helper()
	return helperOf(e.t, e.lab.Machine(i), e.sh(i, "ls /opt/cke/libexec/cke-host-*"), id)
}

// helperOf opens a session to a helper that lies on a machine.
func helperOf(t *testing.T, m *lab.Machine, path string, id host.Identity) host.Host {
	t.Helper()
	cmd := exec.Command("ssh", append(m.SSHArgs(lab.Root), path+" serve")...)
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	c := host.Stdio(stream{out, in}, func() host.Identity { return id })
	t.Cleanup(func() {
		_ = c.Close()
		_ = cmd.Wait() // its end is the stream's
	})
	return c
}

type stream struct {
	io.Reader
	io.WriteCloser
}

// TestFencing: a machine obeys one store and the newest of its leaders, asked
// through its real helper; node claim changes whose it is.
func TestFencing(t *testing.T) {
	e := newCluster(t, 4, []int{1, 2, 3})
	leader, err := e.Client().Leader(t.Context())
	e.must(err)
	member, pid := e.MemberID("h1"), e.mainPID(1)
	client := clientFiles(t)
	for name, id := range map[string]host.Identity{
		"a lower epoch":            {StoreID: leader.StoreID, Epoch: leader.Epoch - 1},
		"another store":            {StoreID: "another", Epoch: leader.Epoch},
		"another store, far newer": {StoreID: "another", Epoch: leader.Epoch + 100},
	} {
		h := e.helper(1, id)
		for verb, err := range map[string]error{
			"stop-unit":   h.StopUnit(e.ctx(), host.StopUnit{Cluster: "main", Member: member, Grace: time.Second}),
			"retire-unit": h.RetireUnit(e.ctx(), "main", member),
			"start-unit":  h.StartUnit(e.ctx(), "main", member),
			"clean":       h.Clean(e.ctx(), "main"),
			"purge":       h.Purge(e.ctx()),

			"put-gateway":      h.PutGateway(e.ctx(), gatewayTo(e.lab.Machine(1))),
			"remove-gateway":   h.RemoveGateway(e.ctx(), "main"),
			"put-client-files": h.PutClientFiles(e.ctx(), client),
		} {
			var fenced *host.FencedError
			if !errors.As(err, &fenced) || fenced.OtherStore != (id.StoreID == "another") {
				t.Errorf("%s with %s: %v", verb, name, err)
			}
		}
	}
	if left := e.sh(1, "ls -d /opt/cke/gateway /etc/kubernetes /var/lib/cke/gateway 2>/dev/null || true"); left != "" {
		t.Errorf("a refused call left %s", left)
	}
	if now := e.mainPID(1); now != pid {
		t.Errorf("the member on h1 was touched: pid %s, was %s", now, pid)
	}

	// A stranger's machine is left alone until a person claims it.
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3, 4)))
	e.votersAre(1, 2, 3, 4)
	e.Set(e.yaml(1, 2, 3))
	stranger := e.helper(4, host.Identity{StoreID: "another", Epoch: 1})
	e.must(stranger.Claim(e.ctx()))
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3, 4)))
	r := e.Reason("hostObeysAnother", "h4")
	if !strings.Contains(r.Hint, "ckecli node claim h4") {
		t.Errorf("the hint is %q", r.Hint)
	}
	e.CLI("node", "claim", "h4")
	e.OnlyMembersAre(e.names(1, 2, 3, 4)...)
	var fenced *host.FencedError
	if err := stranger.Clean(e.ctx(), "main"); !errors.As(err, &fenced) {
		t.Errorf("the former owner: %v", err)
	}
}
