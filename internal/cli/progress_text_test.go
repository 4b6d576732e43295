package cli

import (
	"strings"
	"testing"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
)

func installing(node cluster.NodeName, done, total int64) cluster.Progress {
	return cluster.Progress{Node: node, What: "installing etcd 3.7.3", Done: done, Total: total}
}

func TestProgressText(t *testing.T) {
	const mib = 1 << 20
	got := progressText([]cluster.Progress{
		installing("cp1", 52*98*mib/1000, 98*mib/10), installing("cp2", 0, 98*mib/10),
		installing("cp3", 98*mib/10, 98*mib/10), installing("control-plane-4", 900<<10, 98*mib/10),
	})
	const want = `
cp1              installing etcd 3.7.3  [##########----------]   52 %  5.1 of 9.8 MiB
cp2              installing etcd 3.7.3  [--------------------]    0 %  0 B of 9.8 MiB
cp3              installing etcd 3.7.3  [####################]  100 %  9.8 of 9.8 MiB
control-plane-4  installing etcd 3.7.3  [#-------------------]    8 %  900 KiB of 9.8 MiB
`
	if got != want {
		t.Errorf("got:\n%s", got)
	}
	if got := progressText(nil); got != "" {
		t.Errorf("nothing under way: %q", got)
	}
}

// Where no bar can be drawn a transfer is a handful of lines, however often it
// is told.
func TestProgressIsNoFlood(t *testing.T) {
	st := api.Status{Cluster: "main", Plan: plan.Plan{Steps: []plan.Step{{Kind: plan.InstallEtcd, Nodes: []cluster.NodeName{"cp1", "cp2"}, Version: "3.7.3"}}}}
	var lines []string
	for done := range int64(1001) {
		st.Progress = []cluster.Progress{installing("cp1", done, 1000), installing("cp2", done/2, 1000)}
		if l := progressLine(st); len(lines) == 0 || lines[len(lines)-1] != l {
			lines = append(lines, l)
		}
	}
	const want = "cluster main is not bootstrapped yet: install-etcd cp1 cp2 3.7.3, 50 %\n"
	if len(lines) != 4 || lines[2] != want {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}

func TestPercentIsWithinBounds(t *testing.T) {
	for _, p := range []cluster.Progress{installing("a", -1, 10), installing("a", 20, 10), installing("a", 5, 0), installing("a", 999, 1000)} {
		if n := percent(p); n < 0 || n > 100 || p.Done < p.Total && n == 100 {
			t.Errorf("%+v: %d", p, n)
		}
		if bar := barText(p); len(bar) != barWidth+2 || strings.Trim(bar, "[]#-") != "" {
			t.Errorf("%+v: %s", p, bar)
		}
	}
}
