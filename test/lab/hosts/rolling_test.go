package hosts

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
	"cke/test/drive"
)

// TestRollingOnMachines restarts three members under systemd for a flag, and then
// takes them to the newer line of etcd, which their machines get meanwhile, under
// a load that notices whatever applications would. Then a flag that etcd ends at is
// taken back from the one member that got it, while systemd starts it over and over.
func TestRollingOnMachines(t *testing.T) {
	e := newEnv(t, 3)
	e.Start()
	older, flag := ", version: "+drive.OlderVersion, `, extra_args: {max-request-bytes: "2000000"}`
	e.etcd = older
	e.Set(e.yaml(1, 2, 3))
	e.CLI("etcd", "user-add", "app", "/app/")
	for _, c := range []struct{ name, etcd string }{
		{"restart", older + flag},
		{"upgrade", ", version: " + cluster.DefaultVersion + flag},
	} {
		load := e.StartRate(500, e.addrs(1, 2, 3)...)
		load.Run(2 * time.Second)
		began, before := time.Now(), len(e.restarted())
		e.etcd = c.etcd
		e.Set(e.yaml(1, 2, 3))
		t.Logf("%s took %s", c.name, time.Since(began).Round(10*time.Millisecond))
		load.Run(time.Since(began) + 4*time.Second)
		load.Finish(1)
		if got := e.restarted()[before:]; len(got) != 3 || slices.Compact(slices.Sorted(slices.Values(got)))[0] != "h1" {
			t.Errorf("%s restarted %v, want each of three once", c.name, got)
		}
	}
	for i := 1; i <= 3; i++ {
		if line := e.sh(i, "tr '\\0' ' ' < /proc/$(systemctl show -p MainPID --value etcd-main.service)/cmdline"); !strings.Contains(line, "/v"+cluster.DefaultVersion+"/etcd") || !strings.Contains(line, "--max-request-bytes=2000000") {
			t.Errorf("%s runs %s", e.name(i), line)
		}
	}
	e.NeverBelowQuorum()
	e.rollsBack()
}

// restarted are the nodes whose members were restarted, in order.
func (e *env) restarted() (nodes []string) {
	e.t.Helper()
	for _, r := range e.History() {
		if r.Step != nil && r.Step.Kind == plan.RestartMember && r.Outcome == record.Done {
			nodes = append(nodes, string(r.Step.Nodes[0]))
		}
	}
	return nodes
}

func (e *env) rollsBack() {
	e.t.Helper()
	good := e.etcd
	before := []string{e.mainPID(1), e.mainPID(2), e.mainPID(3)}
	e.etcd = strings.Replace(good, "{", `{election-timeout: "60000", `, 1)
	e.CLIFails(3, []string{"cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3)), "--wait"}, "too long")
	e.Reason("settingsFailed", "")
	e.Eventually("the member runs with what it had", func() error {
		same := 0
		for i := 1; i <= 3; i++ {
			pid := e.mainPID(i)
			if pid == before[i-1] {
				same++
			}
			if pid == "0" || strings.Contains(e.sh(i, "cat /etc/systemd/system/etcd-main.service"), "60000") {
				return fmt.Errorf("%s: pid %s", e.name(i), pid)
			}
		}
		if same != 2 {
			return fmt.Errorf("%d members were left alone", same)
		}
		return nil
	})
	e.etcd = good
	e.Set(e.yaml(1, 2, 3))
	e.OnlyMembersAre(e.names(1, 2, 3)...)
}
