package hosts

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/plan"
	"cke/test/lab"
)

// TestPreflight breaks machines in each way that the preflight looks at, before
// they carry a member: the founding is blocked with the reason, node check says
// it line by line, and when it is mended the cluster is founded.
func TestPreflight(t *testing.T) {
	e := newEnv(t, 3, lab.DataDisk("512M"))
	e.Start()
	yaml := strings.Replace(e.yaml(1, 2, 3), "max_fsync: 10s", "max_fsync: 50ms", 1)
	h1, h2, h3 := e.lab.Machine(1), e.lab.Machine(2), e.lab.Machine(3)
	heals := map[string]func(){
		"the way from h1 to h2": e.lab.Break(t, lab.DropOneWay(h1, h2)),
		"the disk of h3":        e.lab.Break(t, lab.DiskFull(h3)),
	}
	e.CLI("cluster", "set", e.Write("cluster.yml", yaml))
	e.failsPreflight("h1", "to h2")
	e.failsPreflight("h3", "free for its data")
	if n := e.CountSteps(plan.RecordBootstrap); n != 0 {
		t.Fatal("the cluster was founded on machines that fail the preflight")
	}
	r := e.Run("ckecli", "node", "check")
	if r.Code != 3 {
		t.Errorf("node check: exit %d, want 3\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	e.Says("node check", r.Stdout, "h1", "h2", "h3", "FAIL", "to h2", "free", "fsync", "clock", "systemd")
	heal := e.lab.Break(t, lab.SlowDisk(h2, 20)) // while the others fail, or the founding may come first
	e.failsPreflight("h2", "fsync")
	for _, heal := range heals {
		heal()
	}
	heal()
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3)))
	e.Settled()
	e.OnlyMembersAre(e.names(1, 2, 3)...)
}

// failsPreflight waits until a node's preflight blocks with a text like this.
func (e *env) failsPreflight(node, text string) {
	e.t.Helper()
	e.Eventually("the preflight of "+node+" fails about "+text, func() error {
		for _, r := range e.Status().Plan.Reasons {
			if r.Rule == "hostFailsPreflight" && string(r.Node) == node && strings.Contains(r.Text, text) {
				return nil
			}
		}
		return errNoReason(e.Status().Plan.String())
	})
}

type errNoReason string

func (e errNoReason) Error() string { return string(e) }

// TestSkewedClock: a machine whose clock is off carries no member.
func TestSkewedClock(t *testing.T) {
	e := newEnv(t, 3)
	e.user = lab.CKE
	skewable := filepath.Join(e.Dir, "cke-host-skewable")
	lab.BuildSkewable(t, skewable, "cke/cmd/cke-host")
	helpers := filepath.Join(e.Dir, "helpers")
	e.install(1, skewable)
	e.install(2, skewable)
	e.install(3, skewable)
	e.mustCopy(skewable, filepath.Join(helpers, "cke-host"))
	heal := e.lab.Break(t, lab.SkewClock(e.lab.Machine(2), 90*time.Second))
	e.configure("interval: 2s", "  helpers: "+helpers)
	e.Start()
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3)))
	e.failsPreflight("h2", "clock")
	heal()
	e.sh(2, "pkill -x cke-host || true") // the clock is read at a helper's start
	e.Settled()
}
