package etcd

import (
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestADeadLeaderLeadsNobody: members name it until they miss it, a second or more.
func TestADeadLeaderLeadsNobody(t *testing.T) {
	t.Parallel()
	says := func(id, leader uint64) *clientv3.StatusResponse {
		return &clientv3.StatusResponse{Header: &pb.ResponseHeader{MemberId: id}, Leader: leader}
	}
	for _, c := range []struct {
		what string
		said []*clientv3.StatusResponse // nil: no answer
		want []Pulse
	}{
		{"all answer", []*clientv3.StatusResponse{says(1, 1), says(2, 1), says(3, 1)}, []Pulse{Serving, Serving, Serving}},
		{"a follower is dead", []*clientv3.StatusResponse{says(1, 1), says(2, 1), nil}, []Pulse{Serving, Serving, Silent}},
		{"the leader is dead", []*clientv3.StatusResponse{nil, says(2, 1), says(3, 1)}, []Pulse{Silent, Leaderless, Leaderless}},
		{"one has missed it", []*clientv3.StatusResponse{nil, says(2, 0), says(3, 1)}, []Pulse{Silent, Leaderless, Leaderless}},
		{"there is another", []*clientv3.StatusResponse{nil, says(2, 2), says(3, 2)}, []Pulse{Silent, Serving, Serving}},
		{"only one knows yet", []*clientv3.StatusResponse{nil, says(2, 2), says(3, 1)}, []Pulse{Silent, Serving, Leaderless}},
		{"a stranger leads, and all that were asked answer", []*clientv3.StatusResponse{says(2, 9), says(3, 9)}, []Pulse{Serving, Serving}},
	} {
		felt := make([]Pulse, len(c.said))
		for i, st := range c.said {
			if st != nil {
				felt[i] = pulseOf(st)
			}
		}
		if orphan(felt, c.said); !slices.Equal(felt, c.want) {
			t.Errorf("%s: %v, want %v", c.what, felt, c.want)
		}
	}
}
