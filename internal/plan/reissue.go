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
// another where they still work.
func (in input) reissue(kind Kind, all []flawed) verdict {
	if len(all) == 0 {
		return verdict{}
	}
	fails := func(f flawed) bool { return f.fails }
	works := func(f flawed) bool { return !f.fails }
	now, later := slices.DeleteFunc(slices.Clone(all), works), slices.DeleteFunc(all, fails)
	if len(now) == 0 {
		i := int(in.now.Unix() / int64(turn/time.Second) % int64(len(later)))
		now = append(now, later[i])
		later = slices.Delete(later, i, i+1)
	}
	s := Step{Kind: kind}
	var why []string
	for _, f := range now {
		s.Nodes = append(s.Nodes, f.node)
		why = append(why, string(f.node)+": "+strings.Join(f.why, ", "))
	}
	s.Reason = strings.Join(why, "; ")
	v := verdict{steps: []Step{s}}
	for _, f := range later {
		v.reasons = append(v.reasons, Reason{
			Level: Waiting, Rule: "certificateAwaitsItsTurn", Node: f.node,
			Text: "its certificate still works and is replaced after those of others: " + strings.Join(f.why, ", "),
		})
	}
	return v
}
