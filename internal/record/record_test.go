package record

import (
	"strings"
	"testing"
	"time"
)

// TestNothingInARecordLooksLikeAnother: neither what a person gave as a reason before
// that was checked, nor what a machine said.
func TestNothingInARecordLooksLikeAnother(t *testing.T) {
	const forged = "2026-01-02T03:04:05Z main cluster set by uid 0: done in 1 ms"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, r := range []Record{
		{At: at, Cluster: "main", By: "ada", Action: "pause", Reason: "fans\n" + forged, Outcome: Done},
		{At: at, Cluster: "main", By: "rule", Action: "x", Outcome: Failed, Error: "no\n" + forged},
	} {
		lines := strings.Split(r.String(), "\n")
		for _, line := range lines[1:] {
			if !strings.HasPrefix(line, "    ") {
				t.Errorf("%q begins a line", line)
			}
		}
		if !strings.Contains(r.String(), "main cluster set by uid 0") {
			t.Errorf("%q leaves out what was said", r)
		}
	}
}
