package plan

import (
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
)

// flawed is a node whose files must be issued again, and whether they fail now.
type flawed struct {
	node  cluster.NodeName
	why   []string
	fails bool
}

// turn is how long one node is tried before it is another's turn, so that one
// whose host refuses does not keep the others from their new files for ever.
const turn = 10 * time.Minute

// reissue issues files again: at once where they fail, and then one node after
// another where they still work. In every second turn these do not wait for those
// that fail, which may do so for as long as their hosts refuse.
func (in input) reissue(kind Kind, all []flawed) verdict {
	if len(all) == 0 {
		return verdict{}
	}
	fails := func(f flawed) bool { return f.fails }
	works := func(f flawed) bool { return !f.fails }
	now, later := slices.DeleteFunc(slices.Clone(all), works), slices.DeleteFunc(all, fails)
	var v verdict
	count, mayBegin := in.now.Unix()/int64(turn/time.Second), true
	if len(now) > 0 {
		v.steps = append(v.steps, issueStep(kind, now))
		count, mayBegin = count/2, count%2 == 1
	}
	if len(later) > 0 && mayBegin {
		i := int(count % int64(len(later)))
		v.steps = append(v.steps, issueStep(kind, later[i:i+1]))
		later = slices.Delete(later, i, i+1)
	}
	for _, f := range later {
		v.reasons = append(v.reasons, Reason{
			Level: Waiting, Rule: "certificateAwaitsItsTurn", Node: f.node,
			Text: "its certificate still works and is replaced after those of others: " + strings.Join(f.why, ", "),
		})
	}
	return v
}

func issueStep(kind Kind, to []flawed) Step {
	s := Step{Kind: kind}
	var why []string
	for _, f := range to {
		s.Nodes = append(s.Nodes, f.node)
		why = append(why, string(f.node)+": "+strings.Join(f.why, ", "))
	}
	s.Reason = strings.Join(why, "; ")
	return s
}
