package etcd

import (
	"context"
	"fmt"

	"cke/internal/cluster"
)

// AddLearner adds a learner and returns its id.
func (c *Client) AddLearner(ctx context.Context, ep Endpoint, peerURL string) (cluster.MemberID, error) {
	conn, err := c.conn(string(ep))
	if err != nil {
		return 0, err
	}
	resp, err := conn.MemberAddAsLearner(ctx, []string{peerURL})
	if err != nil {
		return 0, fmt.Errorf("add learner %s through %s: %w", peerURL, ep, err)
	}
	return cluster.MemberID(resp.Member.ID), nil
}

// Promote makes a learner a voter. etcd itself refuses one that lags.
func (c *Client) Promote(ctx context.Context, ep Endpoint, id cluster.MemberID) error {
	conn, err := c.conn(string(ep))
	if err != nil {
		return err
	}
	if _, err := conn.MemberPromote(ctx, uint64(id)); err != nil {
		return fmt.Errorf("promote learner %s through %s: %w", id, ep, err)
	}
	return nil
}

// Remove takes a member out.
func (c *Client) Remove(ctx context.Context, ep Endpoint, id cluster.MemberID) error {
	conn, err := c.conn(string(ep))
	if err != nil {
		return err
	}
	if _, err := conn.MemberRemove(ctx, uint64(id)); err != nil {
		return fmt.Errorf("remove member %s through %s: %w", id, ep, err)
	}
	return nil
}

// MoveLeader hands leadership over; leader must be the present leader's endpoint.
func (c *Client) MoveLeader(ctx context.Context, leader Endpoint, to cluster.MemberID) error {
	conn, err := c.conn(string(leader))
	if err != nil {
		return err
	}
	if _, err := conn.MoveLeader(ctx, uint64(to)); err != nil {
		return fmt.Errorf("move leadership to %s through %s: %w", to, leader, err)
	}
	return nil
}
