package cli

import (
	"context"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
)

// maintenance is what the memory knows of drained nodes and of reboots.
type maintenance struct {
	drains  []cluster.Drain
	reboot  *cluster.Reboot
	reasons []plan.Reason
	boot    string // that its machines run
}

func (m *memory) DrainNode(ctx context.Context, name, node string, r api.DrainRequest) (api.DrainAnswer, error) {
	n := cluster.NodeName(node)
	return api.DrainAnswer{Node: n}, m.with(ctx, name, func(c *memoryCluster) error {
		switch {
		case node == "cp9":
			return api.NotFound("cluster main has no node \"cp9\"", "ckecli node list")
		case node == "cp3" && !r.Interrupt:
			return api.Refused("node cp3 is not drained: cp2 is drained already", "ckecli node undrain cp2")
		}
		c.drains = append(c.drains, cluster.Drain{Node: n, By: "tester", Why: r.Why, At: start()})
		c.reasons = append(c.reasons, plan.Reason{Level: plan.Note, Rule: "nodeIsDrained", Node: n, Text: "drained by tester (" + r.Why + "): its member is stopped", Hint: "ckecli node undrain " + node})
		m.wake()
		return nil
	})
}

func (m *memory) UndrainNode(ctx context.Context, name, node string) (api.DrainAnswer, error) {
	return api.DrainAnswer{Node: cluster.NodeName(node)}, m.with(ctx, name, func(c *memoryCluster) error {
		c.maintenance = maintenance{}
		m.wake()
		return nil
	})
}

// RebootNodes has all of them rebooted once they were looked at, but for stuck, which
// never is, idle, whose turn is cancelled, and the first of those that are put back: it
// left the spec, and the last was told, and undrained by a person before it went.
func (m *memory) RebootNodes(ctx context.Context, name string, r api.RebootRequest) (cluster.Reboot, error) {
	out := cluster.Reboot{By: "tester", Why: r.Why, At: start()}
	err := m.with(ctx, name, func(c *memoryCluster) error {
		for _, n := range r.Nodes {
			if n == "cp1" {
				return api.Refused("node cp1 is not rebooted: cke itself runs on its machine", "reboot it by hand")
			}
			out.Nodes = append(out.Nodes, cluster.NodeName(n))
		}
		now := out
		c.boot = "b2"
		switch last := len(out.Nodes) - 1; {
		case r.Nodes[0] == "stuck":
		case r.Why == "put back":
			now.Done, now.Skipped, now.Boot, now.Told, c.boot = out.Nodes[:last], out.Nodes[:1], "b1", start(), "b1"
		case out.Nodes[last] == "idle":
			now.Done = out.Nodes[:last]
			c.drains = []cluster.Drain{{Node: "idle", Reboot: true, At: start()}}
		default:
			now.Done, now.Boot, now.Told = out.Nodes[:last], "b1", start()
			c.drains = []cluster.Drain{{Node: out.Nodes[last], Reboot: true, At: start(), Ended: start()}}
		}
		c.reboot = &now
		m.wake()
		return nil
	})
	return out, err
}

func (m *memory) CancelReboot(ctx context.Context, name string) error {
	return m.with(ctx, name, func(c *memoryCluster) error {
		c.reboot = nil
		m.wake()
		return nil
	})
}

// looked is told when a status was taken: a reboot then comes to its end.
func (c *memoryCluster) looked(m *memory) {
	if c.reboot != nil && c.reboot.Nodes[0] != "stuck" {
		c.reboot, c.drains = nil, nil
		m.wake()
	}
}
