package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

func says(ep Endpoint, clusterID, member, leader uint64) answer {
	return answer{endpoint: ep, status: (*clientv3.StatusResponse)(&pb.StatusResponse{
		Header: &pb.ResponseHeader{ClusterId: clusterID, MemberId: member}, Leader: leader,
	})}
}

func TestMixedClustersAreNoticed(t *testing.T) {
	silent := answer{endpoint: "c", statusErr: errors.New("connection refused")}
	if got := mixed([]answer{says("a", 1, 1, 1), says("b", 1, 2, 1), silent}); got != "" {
		t.Errorf("one cluster is called mixed: %s", got)
	}
	got := mixed([]answer{says("a", 1, 1, 1), silent, says("b", 0xee, 2, 0)})
	if !strings.Contains(got, "b is of cluster ee") || !strings.Contains(got, "a is of cluster 1") {
		t.Errorf("two clusters: %q", got)
	}
}

// TestTwoThatLeadAreNoticed: whoever follows, is ill or learns leads nobody, and
// one leader is as it should be.
func TestTwoThatLeadAreNoticed(t *testing.T) {
	deposed := says("d", 1, 4, 4)
	deposed.readErr = errors.New("timed out")
	if got := leading([]answer{says("a", 1, 1, 1), says("b", 1, 2, 1), deposed}); len(got) != 1 || got[0].endpoint != "a" {
		t.Errorf("they lead: %v", got)
	}
	if got := leading([]answer{says("a", 1, 1, 1), says("b", 1, 2, 2), deposed}); len(got) != 2 {
		t.Errorf("they lead: %v", got)
	}
}

func TestTheLeaderIsAsked(t *testing.T) {
	lagging := says("c", 1, 3, 2)
	lagging.readErr = errors.New("timed out")
	var e cluster.EtcdState
	via, err := choose(&e, []answer{says("a", 1, 1, 2), says("b", 1, 2, 2), lagging, says("d", 1, 4, 0)})
	if via != "b" || err == nil || !e.Asked || e.ClusterID != 1 {
		t.Errorf("via %q, %v, %+v", via, err, e)
	}
	if via, _ := choose(&e, []answer{says("d", 1, 4, 0)}); via != "" {
		t.Errorf("a member without a leader is asked for what all share: %q", via)
	}
}

func TestWhyAMemberIsNotHealthy(t *testing.T) {
	nodes := []cluster.Node{{Hostname: "cp1", Address: netip.MustParseAddr("10.0.0.1")}}
	known := Endpoint(nodes[0].ClientURL())
	for _, c := range []struct {
		name    string
		member  cluster.Member
		answers []answer
		want    string
	}{
		{"nobody asked it", cluster.Member{ID: 1, PeerURL: nodes[0].PeerURL()}, nil, "its process does not run"},
		{"refused", cluster.Member{ID: 1, PeerURL: nodes[0].PeerURL()}, []answer{{endpoint: known, statusErr: errors.New("refused")}}, "refused"},
		{"another", cluster.Member{ID: 1, PeerURL: nodes[0].PeerURL()}, []answer{says(known, 1, 9, 9)}, "another member (9) answers"},
		{"leaderless", cluster.Member{ID: 1, PeerURL: nodes[0].PeerURL()}, []answer{says(known, 1, 1, 0)}, "no leader known"},
		{"unknown node", cluster.Member{ID: 7, PeerURL: "https://10.0.0.9:2380"}, nil, "not known"},
		{"serves", cluster.Member{ID: 1, PeerURL: nodes[0].PeerURL()}, []answer{says(known, 1, 1, 1)}, ""},
	} {
		m := c.member
		fill(&m, nodes, c.answers)
		if m.Healthy != (c.want == "") || !strings.Contains(m.Err, c.want) {
			t.Errorf("%s: healthy %v, %q", c.name, m.Healthy, m.Err)
		}
	}
}

// TestWhoLeads: one whose disk hangs says so of itself though another was elected; while
// none was, it may lead still.
func TestWhoLeads(t *testing.T) {
	in := func(term uint64, a answer) answer {
		a.status.RaftTerm = term
		return a
	}
	hangs := says("a", 1, 1, 1)
	hangs.readErr = errors.New("timed out")
	learner := in(3, says("b", 1, 2, 2))
	learner.status.IsLearner = true
	for name, c := range map[string]struct {
		answers []answer
		want    bool
	}{
		"it serves":             {[]answer{in(2, says("a", 1, 1, 1)), in(3, says("b", 1, 2, 2))}, true},
		"nobody else answers":   {[]answer{in(2, hangs)}, true},
		"the others follow it":  {[]answer{in(2, hangs), in(2, says("b", 1, 2, 1))}, true},
		"another was elected":   {[]answer{in(2, hangs), in(3, says("b", 1, 2, 2))}, false},
		"only a learner is on":  {[]answer{in(2, hangs), learner}, true},
		"the other has nobody":  {[]answer{in(2, hangs), in(3, says("b", 1, 2, 0))}, true},
		"it follows as it ever": {[]answer{in(2, says("a", 1, 1, 2)), in(2, says("b", 1, 2, 2))}, false},
	} {
		m := cluster.Member{ID: 1}
		if fill(&m, nil, c.answers); m.Leader != c.want {
			t.Errorf("%s: it leads: %v", name, m.Leader)
		}
	}
}

func TestTransientErrors(t *testing.T) {
	for err, want := range map[error]bool{
		fmt.Errorf("add learner: %w", rpctypes.ErrUnhealthy): true,
		rpctypes.ErrMemberLearnerNotReady:                    true,
		context.DeadlineExceeded:                             true,
		rpctypes.ErrPeerURLExist:                             false,
		rpctypes.ErrPermissionDenied:                         false,
	} {
		if got := IsTransient(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}
