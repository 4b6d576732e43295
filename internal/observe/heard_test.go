package observe

import (
	"fmt"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// TestWhatWasHeardOutlivesTheSilence: of a host that fell silent the last is
// known, and of another member on it nothing.
func TestWhatWasHeardOutlivesTheSilence(t *testing.T) {
	o := New(Options{Now: time.Now})
	defer o.Close()
	n := cluster.Node{Hostname: "cp1"}
	w := Wanted{Spec: cluster.Spec{Nodes: []cluster.Node{n}}}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	look := func(at time.Time, ns cluster.NodeState, ms ...cluster.Member) (cluster.Heard, bool) {
		h, known := o.hear(w, cluster.State{At: at, Nodes: map[cluster.NodeName]cluster.NodeState{"cp1": ns}, Etcd: cluster.EtcdState{Members: ms}})["cp1"]
		return h, known
	}
	if h, known := look(at, cluster.NodeState{Err: "away"}); known {
		t.Errorf("heard %+v of a host that never answered", h)
	}
	carries := func(id cluster.MemberID) cluster.NodeState {
		return cluster.NodeState{
			Unit: &cluster.UnitState{Unit: cluster.Unit{Member: id}},
			Data: []cluster.DataDir{{Member: id, Bytes: 77}},
		}
	}
	want := cluster.Heard{Member: 1, Bytes: 77, At: at, RaftIndex: 5, RaftTerm: 2, AskedAt: at}
	if h, _ := look(at, carries(1), cluster.Member{ID: 1, PeerURL: n.PeerURL(), RaftIndex: 5, RaftTerm: 2}); h != want {
		t.Errorf("heard %+v, want %+v", h, want)
	}
	later := at.Add(time.Minute)
	if h, _ := look(later, cluster.NodeState{Err: "away"}); h != want {
		t.Errorf("heard %+v after it fell silent, want %+v", h, want)
	}
	if h, _ := look(later, carries(1)); h.At != later || h.AskedAt != at || h.RaftIndex != 5 {
		t.Errorf("heard %+v of a member that answers nothing", h)
	}
	gone := carries(1)
	gone.Unit.DataLost = true
	look(later, gone)
	if h, _ := look(later, cluster.NodeState{Err: "away"}); !h.Lost {
		t.Errorf("heard %+v of a host that said that the data is gone", h)
	}
	if h, _ := look(later, carries(1)); h.Lost {
		t.Errorf("heard %+v of a host that has the data again", h)
	}
	if h, _ := look(later, carries(2)); h != (cluster.Heard{Member: 2, Bytes: 77, At: later}) {
		t.Errorf("heard %+v of another member", h)
	}
	if h, known := look(later, cluster.NodeState{}); known {
		t.Errorf("heard %+v of a host without a unit", h)
	}
}

// TestWhyAHostIsSilentIsShort: the reason, and not how CKE came upon it.
func TestWhyAHostIsSilentIsShort(t *testing.T) {
	err := fmt.Errorf("facts: %w: the connection to root@10.77.0.12:22 ended: nothing came for 9s", host.ErrSessionEnded)
	if got, want := silent(err).Err, "the connection to root@10.77.0.12:22 ended: nothing came for 9s"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}
