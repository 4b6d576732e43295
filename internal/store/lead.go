package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Candidate is what a daemon says of itself to the others.
type Candidate struct {
	Hostname string `json:"hostname"`
	PID      int    `json:"pid"`
	Version  string `json:"version"`
	// Server is where its API is reached from other machines; empty: nowhere.
	Server string `json:"server,omitempty"`
	// Socket is where it is reached on its own.
	Socket string `json:"socket,omitempty"`
}

// Leader is the daemon that acts.
type Leader struct {
	Candidate
	StoreID string
	Epoch   int64
	Since   time.Time
}

// Leader says who leads the store. ErrNoLeader: nobody does at this moment.
func (s *Store) Leader(ctx context.Context) (Leader, error) {
	l, err := s.leader(ctx)
	if err != nil {
		return Leader{}, fmt.Errorf("look who leads: %w", err)
	}
	return l, nil
}

func (s *Store) leader(ctx context.Context) (Leader, error) {
	_, ranges, err := s.read(ctx, clientv3.OpGet(keyEpoch), clientv3.OpGet(keyStoreID), opFirstInLine())
	if err != nil {
		return Leader{}, err
	}
	var l Leader
	var ep epoch
	for _, kv := range ranges[0] {
		if ep, err = decode[epoch](kv); err != nil {
			return l, err
		}
	}
	for _, kv := range ranges[1] {
		if l.StoreID, err = decode[string](kv); err != nil {
			return l, err
		}
	}
	l.Epoch, l.Since = ep.Epoch, ep.Since
	if s.embedded != nil {
		l.Candidate = s.self
		return l, nil
	}
	// The first in line is not the leader before the epoch is its own.
	if len(ranges[2]) == 0 || ep.Session == "" || string(ranges[2][0].GetKey()) != allLeaders+ep.Session {
		return l, ErrNoLeader
	}
	l.Candidate, err = decode[Candidate](ranges[2][0])
	return l, err
}

func opFirstInLine() clientv3.Op {
	return clientv3.OpGet(allLeaders, clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend), clientv3.WithLimit(1))
}

// campaign stands in line until it is the first.
func (s *Store) campaign(ctx context.Context) (*session, error) {
	n, err := s.enrol(ctx)
	if err != nil {
		return nil, err
	}
	// The wait ends with the session too.
	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(n.ctx, func() { cancel(context.Cause(n.ctx)) })() //nolint:contextcheck // the session ends the wait too
	if err := n.awaitTurn(wait); err != nil {
		if cause := context.Cause(wait); cause != nil {
			err = cause
		}
		return nil, errors.Join(err, n.end(ctx))
	}
	return n, nil
}

func (n *session) awaitTurn(ctx context.Context) error {
	for {
		rev, ranges, err := n.store.read(ctx, opFirstInLine())
		if err != nil {
			return err
		}
		if len(ranges[0]) == 0 {
			return fmt.Errorf("the store has let this cke's lease go: %w", ErrNotLeader)
		}
		if string(ranges[0][0].GetKey()) == n.key {
			return nil
		}
		if err := n.awaitChange(ctx, rev); err != nil {
			return err
		}
	}
}

// lookAgain is for a watch that is mute because its member of the store is.
const lookAgain = 2 * time.Second

// awaitChange returns when somebody has left the line after rev, or when it is
// time to look by oneself.
func (n *session) awaitChange(ctx context.Context, rev int64) error {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	changes := n.store.client.Watch(ctx, allLeaders, clientv3.WithPrefix(), clientv3.WithRev(rev+1), clientv3.WithFilterPut())
	for resp := range changes {
		if err := resp.Err(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("watch the line for the lead: %w", err)
		}
		for _, e := range resp.Events {
			if e.Type == mvccpb.DELETE {
				return nil
			}
		}
	}
	if outer.Err() == nil && ctx.Err() == nil {
		return errors.New("watch the line for the lead: the watch ended")
	}
	return outer.Err()
}

// name is what the epoch says of a session.
func (n *session) name() string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(int64(n.lease), 16)
}
