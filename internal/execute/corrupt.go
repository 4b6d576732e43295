package execute

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// corrupt compares all voters' data once more: none but a member that holds other
// data than a quorum goes.
func (a removeMember) corrupt(ctx context.Context, e cluster.EtcdState) error {
	var refusing []cluster.MemberID
	if ns, err := a.observed(ctx, a.step.Nodes[0]); err == nil {
		if u := ns.Unit; u != nil && u.Unit.Member == a.step.Member && u.Refuses() {
			refusing = []cluster.MemberID{a.step.Member}
		}
	}
	c := plan.Judge(e, a.x.o.Observer.Hashes(ctx, a.w, e), refusing)
	if !slices.Contains(c.Bad, a.step.Member) {
		return fmt.Errorf("the data of member %s is not known to differ from that of the others", a.step.Member)
	}
	return nil
}

// sound says why an alarm CORRUPT must stay.
func (a disarmAlarm) sound(ctx context.Context, e cluster.EtcdState) error {
	c := plan.Judge(e, a.x.o.Observer.Hashes(ctx, a.w, e), nil)
	if !c.Clear || len(c.Bad) > 0 {
		return errors.New("the voters are not known to hold the same data")
	}
	return nil
}
