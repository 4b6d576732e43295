package hosts

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/plan"
)

// TestResizeAndReplace walks 1→3→5→3 and then replaces all three by others in
// one edit, while a tenant writes: no acknowledged write is lost, no
// linearizable read fails. The machines that left keep their data aside and
// stay reachable for CKE until they are cleaned, and then nothing of CKE's is
// left on them.
func TestResizeAndReplace(t *testing.T) {
	e := newCluster(t, 6, []int{1})
	w := e.tenant(false, 1, 2, 3, 4, 5, 6)
	for _, nodes := range [][]int{{1, 2, 3}, {1, 2, 3, 4, 5}, {1, 2, 3}} {
		w.Wrote(50)
		e.Set(e.yaml(nodes...))
		e.OnlyMembersAre(e.names(nodes...)...)
	}
	e.CLIFails(3, []string{"node", "clean", "h1"}, "h1", "member")
	moved, look := e.CountSteps(plan.MoveLeader), e.LookOut()
	w.Wrote(50)
	e.Set(e.yaml(4, 5, 6))
	e.OnlyMembersAre(e.names(4, 5, 6)...)
	w.Wrote(50)
	w.Finish(500)
	e.NeverBelowQuorum()
	if n := e.CountSteps(plan.MoveLeader) - moved; n > 1 && !look.StoodStill(time.Second) { // who leads then the members decide
		t.Errorf("leadership was moved %d times by CKE, want at most once: straight to a member that stays", n)
	}

	list := e.CLI("node", "list")
	for _, i := range []int{1, 2, 3} {
		e.dataIsAside(i)
		e.Says("node list", list, string(e.name(i)))
	}
	e.Says("node list", list, "left")
	for _, i := range []int{1, 2, 3} {
		e.CLI("node", "clean", string(e.name(i)))
		e.nothingOfCKE(i)
	}
	if list := e.CLI("node", "list"); strings.Contains(list, "h1") {
		t.Errorf("cleaned machines are still listed:\n%s", list)
	}
	e.OnlyMembersAre(e.names(4, 5, 6)...)
}

// dataIsAside checks that a machine that left keeps its data in another place,
// and neither a unit nor a certificate.
func (e *env) dataIsAside(i int) {
	e.t.Helper()
	if in := e.sh(i, "ls /var/lib/cke/etcd/main 2>/dev/null || true"); in != "" {
		e.t.Errorf("%s has data in place: %s", e.name(i), in)
	}
	if aside := e.sh(i, "find /var/lib/cke/etcd-aside -name '*.wal' | head -1"); aside == "" {
		e.t.Errorf("%s has no data aside", e.name(i))
	}
	for _, path := range []string{"/etc/systemd/system/etcd-main.service", "/etc/cke/etcd/main"} {
		if out := e.sh(i, fmt.Sprintf("ls -d %s 2>/dev/null || true", path)); out != "" {
			e.t.Errorf("%s still has %s", e.name(i), out)
		}
	}
}

// nothingOfCKE looks through a whole machine, and lets these be there.
func (e *env) nothingOfCKE(i int, but ...string) {
	e.t.Helper()
	left := e.sh(i, `find / -xdev \( -path /proc -o -path /sys -o -path /run/systemd \) -prune -o \( -name cke -o -name 'cke[-.]*' -o -name etcd -o -name 'etcd[-.]*' \) -print 2>/dev/null | grep -v -e '^/var/log/journal' -e '^/home/cke' -e '^/usr/lib/python' -e '^/etc/.*\(passwd\|group\|shadow\|subuid\|subgid\)' -e '^/var/spool/mail' || true`)
	found := slices.DeleteFunc(strings.Fields(left), func(path string) bool { return slices.Contains(but, path) })
	if len(found) > 0 {
		e.t.Errorf("on %s there is still %q", e.name(i), found)
	}
	if out := e.sh(i, "pgrep -a -x 'etcd|cke-host.*' || true"); strings.Contains(out, "etcd ") {
		e.t.Errorf("on %s there still runs %s", e.name(i), out)
	}
}
