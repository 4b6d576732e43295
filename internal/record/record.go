// Package record holds the one noun of history: what was done, why, by whom,
// and how it ended.
package record

import (
	"fmt"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
)

// Record is one mutation. Seq is assigned by the store and only grows.
type Record struct {
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	Cluster string    `json:"cluster"`
	// By is "rule" for the loop's own steps, else who asked through the API.
	By    string `json:"by"`
	Epoch int64  `json:"epoch"`
	// Step is set for the loop's steps; Action for everything a person asked for.
	Step   *plan.Step `json:"step,omitempty"`
	Action string     `json:"action,omitempty"`
	Reason string     `json:"reason,omitempty"`
	// Outcome is written as Started before the first effect and amended after
	// the last, so that what a crash interrupted stays visible.
	Outcome Outcome `json:"outcome"`
	Error   string  `json:"error,omitempty"`
	// Repeats counts further attempts that ended the same, folded into this one.
	Repeats int   `json:"repeats,omitempty"`
	TookMS  int64 `json:"took_ms"`
}

// Outcome is how far a deed has come.
type Outcome string

// The outcomes. A record that stays Started was interrupted.
const (
	Started Outcome = "started"
	Done    Outcome = "done"
	Failed  Outcome = "failed"
)

// What names the deed: the step's key or the action.
func (r Record) What() string {
	if r.Step != nil {
		return r.Step.Key()
	}
	return r.Action
}

// String is one line of history. Where an error has several, the further ones are
// indented, so that none looks like another record.
func (r Record) String() string {
	outcome := string(r.Outcome)
	if r.Error != "" {
		outcome += ": " + r.Error
	}
	if r.Repeats > 0 {
		outcome += fmt.Sprintf(" (and %d times more)", r.Repeats)
	}
	reason := cluster.InLine(r.Reason)
	if r.Step != nil {
		reason = r.Step.Reason
	}
	if reason != "" {
		reason = " (" + reason + ")"
	}
	took := fmt.Sprintf(" in %d ms", r.TookMS)
	if r.Outcome == Started { // it goes on, or whoever did it ended
		took = ""
	}
	line := fmt.Sprintf("%s %s %s%s by %s: %s%s",
		r.At.UTC().Format(time.RFC3339), r.Cluster, r.What(), reason, r.By, outcome, took)
	return strings.ReplaceAll(line, "\n", "\n    ")
}
