package etcd

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// shared is what all members agree on, as one of them tells it.
type shared struct {
	via     Endpoint
	members []cluster.Member
	err     error
	auth    cluster.Auth
	authErr error
}

// askShared asks one healthy member, linearizable.
func (c *Client) askShared(ctx context.Context, via Endpoint) shared {
	s := shared{via: via}
	var both errgroup.Group
	both.Go(func() error { s.members, s.err = c.memberList(ctx, via); return nil })
	both.Go(func() error { s.auth, s.authErr = c.Auth(ctx, via); return nil })
	_ = both.Wait() // each has its own error
	return s
}

// early is a question to the member asked the last time, put before it is known
// whether that member serves: a settled cluster costs one round of questions.
type early struct {
	via    Endpoint // empty when none was put
	said   chan shared
	cancel context.CancelFunc
}

func (c *Client) askEarly(ctx context.Context, endpoints []Endpoint) *early {
	c.mu.Lock()
	via := c.via
	c.mu.Unlock()
	if !slices.Contains(endpoints, via) {
		return &early{}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	q := &early{via: via, said: make(chan shared, 1), cancel: cancel}
	go func() { q.said <- c.askShared(ctx, via) }()
	return q
}

func (q *early) take() shared {
	q.via = ""
	defer q.cancel()
	return <-q.said
}

// drop gives up an answer nobody has taken.
func (q *early) drop() {
	if q.via != "" {
		q.cancel()
		q.take()
	}
}

// askFirst keeps whom to ask first the next time.
func (c *Client) askFirst(via Endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.via = via
}

// shared adds what a healthy member says for all.
func (c *Client) shared(ctx context.Context, via Endpoint, q *early, e *cluster.EtcdState) {
	s := shared{}
	if q.via == via {
		s = q.take()
	}
	if s.via == "" || s.err != nil || s.authErr != nil {
		s = c.askShared(ctx, via)
	}
	if s.err != nil {
		e.Err = s.err.Error()
		return
	}
	e.Members, e.Quorum, e.Auth = s.members, true, s.auth
	if s.authErr != nil {
		e.Err = s.authErr.Error()
	}
}

// remembered reads the membership as any member remembers it.
func (c *Client) remembered(ctx context.Context, e *cluster.EtcdState, answers []answer) {
	for _, a := range answers {
		if a.statusErr != nil {
			continue
		}
		list, err := c.memberList(ctx, a.endpoint, clientv3.WithSerializable())
		if err == nil {
			e.Members = list
			return
		}
		e.Err = err.Error()
	}
}
