package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ValidateDowngrade asks etcd whether the cluster could go down to a version such
// as "3.6.0".
func (c *Client) ValidateDowngrade(ctx context.Context, ep Endpoint, to string) error {
	return c.downgrade(ctx, ep, "validate", clientv3.DowngradeValidate, to)
}

// EnableDowngrade makes etcd prepare for it. It ends by itself once every member
// is of that line.
func (c *Client) EnableDowngrade(ctx context.Context, ep Endpoint, to string) error {
	return c.downgrade(ctx, ep, "enable", clientv3.DowngradeEnable, to)
}

// CancelDowngrade takes it back.
func (c *Client) CancelDowngrade(ctx context.Context, ep Endpoint) error {
	return c.downgrade(ctx, ep, "cancel", clientv3.DowngradeCancel, "")
}

func (c *Client) downgrade(ctx context.Context, ep Endpoint, verb string, action clientv3.DowngradeAction, to string) error {
	conn, err := c.conn(string(ep))
	if err != nil {
		return err
	}
	if _, err := conn.Downgrade(ctx, action, to); err != nil {
		return fmt.Errorf("%s downgrade %s through %s: %w", verb, to, ep, err)
	}
	return nil
}
