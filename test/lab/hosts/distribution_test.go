package hosts

import (
	"fmt"
	"strings"
	"testing"

	"cke/internal/api"
	"cke/test/lab"
)

// TestDistribution: etcd is sent once to each machine that needs it. A machine
// with a full disk and one whose /opt is read-only are blocked with the reason
// and go on when it is mended, a transfer that was cut goes on where it was.
func TestDistribution(t *testing.T) {
	e := newEnv(t, 3, lab.Disk("1G"))
	e.Start()
	full := e.lab.Break(t, lab.DiskFull(e.lab.Machine(2)))
	e.sh(3, "mkdir -p /opt/cke && mount --bind /opt/cke /opt/cke && mount -o remount,bind,ro /opt/cke")
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3)))
	e.Eventually("h2 and h3 are blocked with the reason", func() error {
		text := map[string]string{}
		for _, r := range e.Status().Plan.Reasons {
			text[string(r.Node)] += r.Text + "\n"
		}
		if !strings.Contains(text["h2"], "no space left") && !strings.Contains(text["h2"], "free") {
			return fmt.Errorf("h2: %q", text["h2"])
		}
		if !strings.Contains(text["h3"], "read-only") {
			return fmt.Errorf("h3: %q", text["h3"])
		}
		return nil
	})
	full()
	e.sh(3, "umount /opt/cke")
	e.Settled()
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	for _, i := range []int{1, 2, 3} {
		if out := e.sh(i, "find /opt/cke/etcd -type f | sort | tr '\\n' ' '"); out != "/opt/cke/etcd/v3.7.3/etcd" {
			t.Errorf("h%d has %s", i, out)
		}
	}
}

// TestTransferIsResumed cuts a machine off in the middle of a transfer.
func TestTransferIsResumed(t *testing.T) {
	e := newEnv(t, 1)
	e.Start()
	slow := e.lab.Break(t, lab.Delay(e.lab.Machine(1), 40_000_000, 0))
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1)))
	var before int64
	e.Until("a part has arrived", func(s api.Status) error {
		for _, p := range s.Progress {
			if p.Done > p.Total/8 && p.Done < p.Total {
				before = p.Done
				return nil
			}
		}
		return fmt.Errorf("progress %+v", s.Progress)
	})
	heal := e.lab.Break(t, lab.Cut(e.lab.Machine(1)))
	e.Until("the machine is away", func(s api.Status) error {
		if n := node(s, "h1"); n.Reachable {
			return fmt.Errorf("h1 is reachable")
		}
		return nil
	})
	heal()
	slow()
	e.Settled()
	t.Logf("cut off after %d bytes", before)
	e.Says("history", e.CLI("history", "-n", "50"), "install-etcd")
}
