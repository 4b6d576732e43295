package cli

import (
	"slices"
	"testing"

	"cke/internal/api"
	"cke/internal/cluster"
)

// TestWhichMachinesWereRebooted: by their boots, and as far as an older cke tells.
func TestWhichMachinesWereRebooted(t *testing.T) {
	t.Parallel()
	asked := []cluster.NodeName{"cp1", "cp2", "cp3"}
	runs := func(boot string) []api.NodeStatus { return []api.NodeStatus{{Hostname: "cp2", Boot: boot}} }
	drained := []cluster.Drain{{Node: "cp2", Reboot: true}}
	for name, c := range map[string]struct {
		r    cluster.Reboot
		st   api.Status
		want []cluster.NodeName
	}{
		"not told yet":                        {cluster.Reboot{Done: asked[:1]}, api.Status{Nodes: runs("b2")}, asked[:1]},
		"told":                                {cluster.Reboot{Done: asked[:1], Boot: "b1"}, api.Status{Nodes: runs("b1")}, asked[:1]},
		"away":                                {cluster.Reboot{Done: asked[:1], Boot: "b1"}, api.Status{Nodes: append(runs(""), api.NodeStatus{Hostname: "cp1", Boot: "b7"})}, asked[:1]},
		"back":                                {cluster.Reboot{Done: asked[:1], Boot: "b1"}, api.Status{Nodes: runs("b2"), Drains: drained}, asked[:2]},
		"without the first":                   {cluster.Reboot{Done: asked[:2], Skipped: asked[:1]}, api.Status{Nodes: runs("b2")}, asked[1:2]},
		"all":                                 {cluster.Reboot{Done: asked}, api.Status{Nodes: runs("b2")}, asked},
		"an older cke, told":                  {cluster.Reboot{Done: asked[:1], Boot: "b1"}, api.Status{Nodes: runs(""), Drains: drained}, asked[:1]},
		"an older cke, put back":              {cluster.Reboot{Done: asked[:1], Boot: "b1"}, api.Status{Nodes: runs("")}, asked[:2]},
		"an older cke, drained, not told yet": {cluster.Reboot{Done: asked[:1]}, api.Status{Nodes: runs("")}, asked[:1]},
	} {
		c.r.Nodes = asked
		if got := rebooted(c.r, c.st); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
