package execute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// corrupt compares all voters' data once more: none but a member that holds other
// data than a quorum goes.
func (a removeMember) corrupt(ctx context.Context, e cluster.EtcdState) error {
	var refusing []cluster.MemberID
	if m, _ := e.Member(a.step.Member); a.refuses(ctx, m.Healthy) {
		refusing = []cluster.MemberID{a.step.Member}
	}
	c := plan.Judge(e, a.x.o.Observer.Hashes(ctx, a.w, e), refusing)
	if !slices.Contains(c.Bad, a.step.Member) {
		return fmt.Errorf("the data of member %s is not known to differ from that of the others", a.step.Member)
	}
	return nil
}

// comparing is how long a member may take to find out at its start that its data is
// not that of its peers: it asks each in turn, for 7 s at most
// (etcdserver/corrupt.go).
const comparing = 30 * time.Second

// refuses says whether the member does not start on its data. systemd starts it again
// and again all the same: one that runs, and serves nobody, is waited for to end.
func (a removeMember) refuses(ctx context.Context, serves bool) bool {
	ctx, cancel := context.WithTimeout(ctx, comparing)
	defer cancel()
	for {
		ns, err := a.observed(ctx, a.step.Nodes[0])
		if err != nil || ns.Unit == nil || ns.Unit.Unit.Member != a.step.Member {
			return false
		}
		if !ns.Unit.Running || serves {
			return ns.Unit.Refuses()
		}
		if !a.ends(ctx) {
			return false
		}
	}
}

// ends waits for the end of the member's process.
func (a removeMember) ends(ctx context.Context) bool {
	n, err := a.node(a.step.Nodes[0])
	if err != nil {
		return false
	}
	h, err := a.x.o.Hosts.Host(n)
	return err == nil && h.WaitUnit(ctx, a.cluster(), true) == nil
}

// sound says why an alarm CORRUPT must stay.
func (a disarmAlarm) sound(ctx context.Context, e cluster.EtcdState) error {
	c := plan.Judge(e, a.x.o.Observer.Hashes(ctx, a.w, e), nil)
	if !c.Clear || len(c.Bad) > 0 {
		return errors.New("the voters are not known to hold the same data")
	}
	return nil
}
