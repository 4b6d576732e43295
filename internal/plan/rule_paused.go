package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

// rulePaused holds everything back while a person has asked for it. Where there is
// no quorum, he may be at work on just that, and goes by what is told of the data.
func rulePaused(in input) verdict {
	p := in.st.Paused
	if p == nil {
		return verdict{}
	}
	v := verdict{stop: true, reasons: []Reason{{
		Level: Blocked, Rule: "clusterIsPaused",
		Text: fmt.Sprintf("paused by %s at %s: %s", p.By, p.At.UTC().Format(time.RFC3339), cluster.InLine(p.Why)),
		Hint: "ckecli resume",
	}}}
	if in.st.Bootstrap.Phase == cluster.PhaseBootstrapped {
		v.reasons = append(v.reasons, ruleIdentity(in).reasons...)
		if len(v.reasons) == 1 {
			v.reasons = append(v.reasons, ruleQuorum(in).reasons...)
		}
	}
	return v
}
