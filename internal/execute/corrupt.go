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
// data than a quorum goes. refuses: it was seen to end on its data a moment ago.
func (a removeMember) corrupt(ctx context.Context, e cluster.EtcdState, refuses bool) error {
	hashes := a.x.o.Observer.Hashes(ctx, a.w, e)
	differs := func(refusing ...cluster.MemberID) bool {
		return slices.Contains(plan.Judge(e, hashes, refusing).Bad, a.step.Member)
	}
	if differs() {
		return nil
	}
	m, _ := e.Member(a.step.Member)
	if (refuses || !m.Healthy && a.endsRefusing(ctx)) && differs(a.step.Member) {
		return nil
	}
	return fmt.Errorf("the data of member %s is not known to differ from that of the others", a.step.Member)
}

// refuses says whether the member has ended because of its data. systemd starts it
// again in a moment, so that is asked first of all.
func (a removeMember) refuses(ctx context.Context) (refuses, running bool) {
	ns, err := a.observed(ctx, a.step.Nodes[0])
	if err != nil || ns.Unit == nil || ns.Unit.Unit.Member != a.step.Member {
		return false, false
	}
	return ns.Unit.Refuses(), ns.Unit.Running
}

// comparing is how long is waited for a member that was started again to find out once
// more that its data is not that of its peers.
const comparing = 10 * time.Second

func (a removeMember) endsRefusing(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, comparing)
	defer cancel()
	refuses, running := a.refuses(ctx)
	if !running {
		return refuses
	}
	n, err := a.node(a.step.Nodes[0])
	if err != nil {
		return false
	}
	h, err := a.x.o.Hosts.Host(n)
	if err != nil || h.WaitUnit(ctx, a.cluster(), true) != nil {
		return false
	}
	refuses, _ = a.refuses(ctx)
	return refuses
}

// sound says why an alarm CORRUPT must stay.
func (a disarmAlarm) sound(ctx context.Context, e cluster.EtcdState) error {
	c := plan.Judge(e, a.x.o.Observer.Hashes(ctx, a.w, e), nil)
	if !c.Clear || len(c.Bad) > 0 {
		return errors.New("the voters are not known to hold the same data")
	}
	return nil
}
