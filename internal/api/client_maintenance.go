package api

import (
	"context"
	"net/http"

	"cke/internal/cluster"
)

// DrainNode takes a node out of service; it returns when that is recorded.
func (c *Client) DrainNode(ctx context.Context, name, node string, r DrainRequest) (DrainAnswer, error) {
	var out DrainAnswer
	err := c.callJSON(ctx, request{method: http.MethodPost, path: on(name, "nodes", node, "drain")}, r, &out)
	return out, err
}

// UndrainNode puts a drained node into service again; it returns when that is
// recorded.
func (c *Client) UndrainNode(ctx context.Context, name, node string) (DrainAnswer, error) {
	var out DrainAnswer
	err := c.callJSON(ctx, request{method: http.MethodPost, path: on(name, "nodes", node, "undrain")}, nil, &out)
	return out, err
}

// RebootNodes reboots machines one after another; it returns when that is
// recorded.
func (c *Client) RebootNodes(ctx context.Context, name string, r RebootRequest) (cluster.Reboot, error) {
	var out cluster.Reboot
	err := c.callJSON(ctx, request{method: http.MethodPut, path: on(name, "reboot")}, r, &out)
	return out, err
}

// CancelReboot lets no further machine be rebooted.
func (c *Client) CancelReboot(ctx context.Context, name string) error {
	return c.callJSON(ctx, request{method: http.MethodDelete, path: on(name, "reboot")}, nil, nil)
}
