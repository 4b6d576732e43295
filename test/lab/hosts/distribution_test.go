package hosts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/test/lab"
)

// TestDistribution: etcd is sent once to each machine that needs it. A machine
// with a full disk and one whose /opt is read-only are blocked with the reason
// and go on when it is mended, a transfer that was cut goes on where it was.
func TestDistribution(t *testing.T) {
	// The members' disk is another one: what is full is where programs are kept.
	e := newEnv(t, 3, lab.Disk("1G"), lab.DataDisk("1G"))
	e.Start()
	// The helper is there already, and nothing else is done yet.
	yaml := e.yaml(1, 2, 3)
	e.CLI("cluster", "set", e.Write("cluster.yml", strings.Replace(yaml, "max_fsync: 10s", "max_fsync: 1us", 1)))
	for _, n := range []string{"h1", "h2", "h3"} {
		e.failsPreflight(n, "disk")
	}
	e.sh(2, "dd if=/dev/zero of=/fill bs=1M 2>/dev/null; dd if=/dev/zero of=/fill2 bs=1K 2>/dev/null; true")
	e.sh(3, "mkdir -p /opt/cke && mount --bind /opt/cke /opt/cke && mount -o remount,bind,ro /opt/cke")
	e.CLI("cluster", "set", e.Write("cluster.yml", yaml))
	e.Eventually("h2 and h3 are blocked with the reason", func() error {
		text := map[string]string{}
		for _, r := range e.Status().Plan.Reasons {
			text[string(r.Node)] += r.Text + "\n"
		}
		if !strings.Contains(text["h2"], "the file system / has no room") {
			return fmt.Errorf("h2: %q", text["h2"])
		}
		if !strings.Contains(text["h3"], "read-only") {
			return fmt.Errorf("h3: %q", text["h3"])
		}
		return nil
	})
	e.sh(2, "rm /fill /fill2")
	e.sh(3, "umount /opt/cke")
	e.Settled()
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	for _, i := range []int{1, 2, 3} {
		if out := e.sh(i, "find /opt/cke/etcd -type f -size +1k"); out != "/opt/cke/etcd/v3.7.3/etcd" {
			t.Errorf("besides the program h%d has %s", i, out)
		}
	}
}

// TestTransferIsResumed cuts a machine off in the middle of a transfer.
func TestTransferIsResumed(t *testing.T) {
	e := newEnv(t, 1)
	e.Start()
	slow := e.lab.Break(t, lab.Delay(e.lab.Machine(1), 150*time.Millisecond, 0))
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
