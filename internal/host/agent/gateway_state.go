package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"cke/internal/cluster"
)

// gatewayProtocol is what a gateway of this build speaks.
const gatewayProtocol = 1

// gatewayReport is what a running gateway says of itself.
type gatewayReport struct {
	Version     int                      `json:"version"`
	Gateway     cluster.Gateway          `json:"gateway"`
	Error       string                   `json:"error"`
	Connections map[cluster.NodeName]int `json:"connections"`
}

// readGateway asks a running gateway.
func readGateway(ctx context.Context, socket string) (r gatewayReport, err error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return r, err
	}
	defer func() { _ = c.Close() }() // nothing was written
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline) // fails only on a closed connection; the read says so
	}
	if err := json.NewDecoder(io.LimitReader(c, maxFound)).Decode(&r); err != nil {
		return r, fmt.Errorf("read the gateway's state: %w", err)
	}
	return r, nil
}
