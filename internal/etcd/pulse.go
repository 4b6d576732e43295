package etcd

import (
	"context"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Pulse is what a member's status alone says of it.
type Pulse int

// The pulses. A member without a leader answers, and serves nobody; nor does one
// whose leader does not answer, which it may not have noticed yet.
const (
	Silent Pulse = iota
	Leaderless
	Serving
	Alarmed // it serves, and an alarm is up
)

// Ping asks each endpoint for its status only. It takes a second at most.
func (c *Client) Ping(ctx context.Context, endpoints []Endpoint) map[Endpoint]Pulse {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	felt, said := make([]Pulse, len(endpoints)), make([]*clientv3.StatusResponse, len(endpoints))
	var wg sync.WaitGroup
	for i, ep := range endpoints {
		wg.Go(func() {
			conn, err := c.conn(string(ep))
			if err != nil {
				return
			}
			if st, err := status(ctx, conn, ep); err == nil {
				felt[i], said[i] = pulseOf(st), st
			}
		})
	}
	wg.Wait()
	orphan(felt, said)
	m := make(map[Endpoint]Pulse, len(endpoints))
	for i, ep := range endpoints {
		m[ep] = felt[i]
	}
	return m
}

func pulseOf(st *clientv3.StatusResponse) Pulse {
	switch {
	case st.Leader == 0:
		return Leaderless
	case slices.ContainsFunc(st.Errors, isAlarm):
		return Alarmed
	default:
		return Serving
	}
}

// orphan takes the leader from members whose leader is none of those that answered,
// while one of those asked did not: until they have found out they name it on.
func orphan(felt []Pulse, said []*clientv3.StatusResponse) {
	if !slices.Contains(felt, Silent) {
		return
	}
	for i, st := range said {
		if st == nil {
			continue
		}
		answered := slices.ContainsFunc(said, func(o *clientv3.StatusResponse) bool {
			return o != nil && o.Header.MemberId == st.Leader
		})
		if !answered {
			felt[i] = Leaderless
		}
	}
}
