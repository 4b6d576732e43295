package etcd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cke/internal/cluster"
)

// hashTimeout bounds the reading of one member's whole database.
const hashTimeout = time.Minute

// Hashes asks the voters among members, all at once, what their keys and values
// add up to, at the newest revision that all who answer have.
func (c *Client) Hashes(ctx context.Context, members []cluster.Member, nodes []cluster.Node) []cluster.MemberHash {
	ctx, cancel := context.WithTimeout(ctx, hashTimeout)
	defer cancel()
	var voters []cluster.Member
	for _, m := range members {
		if !m.Learner {
			voters = append(voters, m)
		}
	}
	hashes := make([]cluster.MemberHash, len(voters))
	each := func(do func(i int, ep Endpoint) error) {
		var wg sync.WaitGroup
		for i, m := range voters {
			hashes[i].Member = m.ID
			ep, known := Of(nodes, m.PeerURL)
			if !known || hashes[i].Err != "" {
				continue
			}
			wg.Go(func() {
				if err := do(i, ep); err != nil {
					hashes[i] = cluster.MemberHash{Member: m.ID, Err: err.Error()}
				}
			})
		}
		wg.Wait()
	}
	each(func(i int, ep Endpoint) (err error) {
		hashes[i].Revision, err = c.revision(ctx, ep)
		return err
	})
	rev := int64(0)
	for _, h := range hashes {
		if h.Err == "" && h.Revision > 0 && (rev == 0 || h.Revision < rev) {
			rev = h.Revision
		}
	}
	each(func(i int, ep Endpoint) (err error) {
		hashes[i], err = c.hash(ctx, ep, voters[i].ID, rev)
		return err
	})
	return hashes
}

func (c *Client) revision(ctx context.Context, ep Endpoint) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := c.conn(string(ep))
	if err != nil {
		return 0, err
	}
	st, err := status(ctx, conn, ep)
	if err != nil {
		return 0, fmt.Errorf("ask %s for its status: %w", ep, err)
	}
	return st.Header.Revision, nil
}

func (c *Client) hash(ctx context.Context, ep Endpoint, id cluster.MemberID, rev int64) (cluster.MemberHash, error) {
	conn, err := c.conn(string(ep))
	if err != nil {
		return cluster.MemberHash{}, err
	}
	r, err := conn.HashKV(ctx, string(ep), rev)
	if err != nil {
		return cluster.MemberHash{}, fmt.Errorf("hash the data of %s at revision %d: %w", ep, rev, err)
	}
	if got := cluster.MemberID(r.Header.MemberId); got != id {
		return cluster.MemberHash{}, fmt.Errorf("another member (%s) answers at %s", got, ep)
	}
	return cluster.MemberHash{Member: id, Revision: rev, Compacted: r.CompactRevision, Hash: r.Hash}, nil
}
