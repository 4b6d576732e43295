package plan

import (
	"strings"
	"testing"

	"cke/internal/cluster"
)

// TestAReasonTakenByAnOlderCKEBeginsNoLine: records of before reasons were checked may
// hold anything.
func TestAReasonTakenByAnOlderCKEBeginsNoLine(t *testing.T) {
	const why = "fans\n- note nodeIsDrained cp9: \x1b[2J"
	paused := rulePaused(input{st: cluster.State{Paused: &cluster.Pause{By: "ada", Why: why}}})
	for _, r := range append(paused.reasons, isDrained(cluster.Drain{Node: "cp1", By: "ada", Why: why}, "its member is stopped")) {
		if strings.ContainsAny(r.Text, "\n\x1b") || !strings.Contains(r.Text, `"fans\n- note`) {
			t.Errorf("%s: %q", r.Rule, r.Text)
		}
	}
}
