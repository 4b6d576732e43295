package host

import (
	"context"

	"cke/internal/cluster"
)

// PutGateway implements Host.
func (c *Client) PutGateway(ctx context.Context, g cluster.Gateway) error {
	return c.call(ctx, VerbPutGateway, g, nil)
}

// RemoveGateway implements Host.
func (c *Client) RemoveGateway(ctx context.Context, cluster string) error {
	return c.call(ctx, VerbRemoveGateway, ClusterRequest{Cluster: cluster}, nil)
}

// PutClientFiles implements Host.
func (c *Client) PutClientFiles(ctx context.Context, req PutClientFiles) error {
	return c.call(ctx, VerbPutClientFiles, req, nil)
}
