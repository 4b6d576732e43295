package cli

import (
	"context"
	"time"

	"cke/internal/api"
	"cke/internal/units"
)

func (m *memory) AskDefrag(ctx context.Context, name, node string) ([]api.DefragAsked, error) {
	asked := []api.DefragAsked{
		{Node: "cp1", Bytes: 700 << 20, Free: 400 << 20, Stall: units.Duration(3 * time.Second)},
		{Node: "cp2", Bytes: 700 << 20, Free: 350 << 20, Stall: units.Duration(3500 * time.Millisecond)},
	}
	return asked, m.with(ctx, name, func(*memoryCluster) error {
		switch node {
		case "":
		case "cp1":
			asked = asked[:1]
		case "alone":
			asked = []api.DefragAsked{{Node: "alone", Bytes: 90 << 20, Free: 80 << 20, Stall: units.Duration(200 * time.Millisecond), Interrupts: true}}
		default:
			return api.NotFound("cluster main has no member on a node "+node, "ckecli etcd members")
		}
		return nil
	})
}
