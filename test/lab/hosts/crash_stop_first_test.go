package hosts

import (
	"slices"
	"strings"

	"cke/internal/plan"
)

// stopFirst is the change in which a member is stopped before it is removed.
const stopFirst = "stop first"

// ledThere is the replacement of a leader that gateways lead to: it is stopped before it
// is removed.
type ledThere struct{ *seat }

// again has every node carry a gateway, and the member that is to go lead.
func (l *ledThere) again() {
	l.t.Helper()
	l.Start()
	l.Set(l.yamlWith(", gateway: true", l.nodes()...))
	l.lead(l.in, l.nodes()...)
	l.Kill()
	l.in, l.out = l.out, l.in
}

func (l *ledThere) make() bool {
	l.t.Helper()
	return l.setTo(l.yamlWith(", gateway: true", l.nodes()...))
}

// passed are effects of a change that another has had its daemons killed after already:
// of the one in which a member is stopped first all but those of its way out.
func passed(c change, chained map[string]bool) []string {
	var known []string
	for effect := range chained {
		kind, _, _ := strings.Cut(effect, " ")
		leaves := slices.Contains([]plan.Kind{plan.MoveLeader, plan.RemoveMember, plan.RetireMember}, plan.Kind(kind))
		if c.name == stopFirst && !leaves {
			known = append(known, effect)
		}
	}
	slices.Sort(known)
	return known
}
