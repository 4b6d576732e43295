package history

import (
	"fmt"
	"io"
	"time"
)

// Violation is something that must not be.
type Violation struct {
	Check string `json:"check"`
	Text  string `json:"text"`
	// Draw writes a page that shows it, where there is one.
	Draw func(io.Writer) error `json:"-"`
}

func (v Violation) String() string { return v.Check + ": " + v.Text }

// Limits are what a run must have reached to mean something.
type Limits struct {
	// InWindow is how many answers each client must have had in each window.
	InWindow int
	// PerClient is how many in all.
	PerClient int
	// Refusals is how often each attempt at another's keys must have been refused.
	Refusals int
	// Told is which share of the changes below its prefix each watch must have been
	// told; Known, of which share of all revisions somebody must have been told what
	// changed there below each prefix.
	Told, Known float64
}

// Check judges a whole history. Undecided within the limit counts as a violation.
func Check(h History, limits Limits, patience time.Duration) []Violation {
	log := newLog(h)
	var found []Violation
	for _, check := range []func() []Violation{
		func() []Violation { return cutOffs(h) },
		func() []Violation { return log.consistent() },
		func() []Violation { return writes(h, log) },
		func() []Violation { return revisions(h) },
		func() []Violation { return reads(h, log) },
		func() []Violation { return linearizable(h, log, patience) },
		func() []Violation { return watches(h, log) },
		func() []Violation { return leases(h, log) },
		func() []Violation { return isolation(h) },
		func() []Violation { return traffic(h, limits) },
		func() []Violation { return coverage(h, log, limits) },
	} {
		found = append(found, check()...)
	}
	return found
}

// list collects the violations of one check.
type list struct {
	check string
	found []Violation
}

func (l *list) add(format string, args ...any) {
	l.found = append(l.found, Violation{Check: l.check, Text: fmt.Sprintf(format, args...)})
}

// String is one line: who did what when, and what came of it.
func (o Op) String() string {
	s := fmt.Sprintf("#%d %s %s", o.ID, o.Client, o.Kind)
	if o.Key != "" {
		s += " " + o.Key
	}
	if o.Value != "" {
		s += "=" + o.Value
	}
	if o.Kind == CAS {
		s += fmt.Sprintf(" if mod is %d", o.Expect)
	}
	if o.Lease != 0 {
		s += fmt.Sprintf(" lease %x", o.Lease)
	}
	s += fmt.Sprintf(" [%s, %s] %s", o.Call, o.Return, o.Outcome)
	switch {
	case o.Outcome != OK:
		return s + " " + o.Error
	case o.Kind == Get || o.Kind == CAS && !o.Succeeded:
		return s + fmt.Sprintf(" at %d: %s", o.Revision, o.Seen)
	}
	return s + fmt.Sprintf(" at %d", o.Revision)
}

func (kv *KV) String() string {
	if kv == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s (mod %d, version %d, lease %x)", kv.Value, kv.Mod, kv.Version, kv.Lease)
}

func (e Event) String() string {
	if e.Deleted {
		return fmt.Sprintf("%d: %s deleted", e.Revision, e.Key)
	}
	return fmt.Sprintf("%d: %s=%s", e.Revision, e.Key, e.Value)
}
