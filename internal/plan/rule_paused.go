package plan

import (
	"fmt"
	"time"
)

// rulePaused holds everything back while a person has asked for it.
func rulePaused(in input) verdict {
	p := in.st.Paused
	if p == nil {
		return verdict{}
	}
	return verdict{stop: true, reasons: []Reason{{
		Level: Blocked, Rule: "clusterIsPaused",
		Text: fmt.Sprintf("paused by %s at %s: %s", p.By, p.At.UTC().Format(time.RFC3339), p.Why),
		Hint: "ckecli resume",
	}}}
}
