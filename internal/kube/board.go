package kube

import (
	"cmp"
	"slices"
	"time"

	"cke/internal/cluster"
)

// subjectEndpoints is the Service, the Endpoints and the slices together.
const subjectEndpoints = "endpoints"

// Its sources beside the objects.
const (
	sourceAccess = "access" // the kubeconfig
	sourceExport = "export" // what is wanted
)

func subjectOf(k key) string {
	if k.kind.name == secretKind().name {
		return "secret " + k.namespace + "/" + k.name
	}
	return subjectEndpoints
}

// board remembers what every source says of its subject. It is a value without
// a lock; the Publisher has one.
type board struct {
	said map[string]map[string][]fault // by subject and source
	// since is when a subject got a fault of a rule, or became good (rule "").
	since map[[2]string]time.Time
}

func newBoard() board {
	return board{said: map[string]map[string][]fault{}, since: map[[2]string]time.Time{}}
}

// say replaces what a source said. No faults: it is well. What was never said is
// not known to be well.
func (b *board) say(subject, source string, faults []fault, now time.Time) {
	if b.said[subject] == nil {
		b.said[subject] = map[string][]fault{}
	}
	b.said[subject][source] = faults
	b.date(subject, now)
}

// unsay forgets a source.
func (b *board) unsay(subject, source string, now time.Time) {
	delete(b.said[subject], source)
	if len(b.said[subject]) == 0 {
		delete(b.said, subject)
	}
	b.date(subject, now)
}

// faults are a subject's, one of each rule, in the order of their sources.
func (b *board) faults(subject string) []fault {
	var out []fault
	sources := make([]string, 0, len(b.said[subject]))
	for s := range b.said[subject] {
		sources = append(sources, s)
	}
	slices.Sort(sources)
	for _, s := range sources {
		for _, f := range b.said[subject][s] {
			if !slices.ContainsFunc(out, func(o fault) bool { return o.rule == f.rule }) {
				out = append(out, f)
			}
		}
	}
	return out
}

func (b *board) date(subject string, now time.Time) {
	present := map[string]bool{}
	for _, f := range b.faults(subject) {
		present[f.rule] = true
	}
	if _, known := b.said[subject]; known && len(present) == 0 {
		present[""] = true
	}
	for k := range b.since {
		if k[0] == subject && !present[k[1]] {
			delete(b.since, k)
		}
	}
	for rule := range present {
		k := [2]string{subject, rule}
		if b.since[k].IsZero() {
			b.since[k] = now
		}
	}
}

// conditions lists every subject that something is known of, by name. The
// endpoints are well only when each of their objects has been looked at.
func (b *board) conditions() []cluster.Condition {
	var out []cluster.Condition
	for subject := range b.said {
		faults := b.faults(subject)
		if len(faults) == 0 && (subject != subjectEndpoints || b.complete()) {
			out = append(out, cluster.Condition{Subject: subject, OK: true, Since: b.since[[2]string{subject, ""}]})
		}
		for _, f := range faults {
			out = append(out, cluster.Condition{
				Subject: subject, Rule: f.rule, Text: f.text, Hint: f.hint, Since: b.since[[2]string{subject, f.rule}],
			})
		}
	}
	slices.SortStableFunc(out, func(a, b cluster.Condition) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Rule, b.Rule))
	})
	return out
}

// complete: every object of the endpoints has been looked at.
func (b *board) complete() bool {
	for _, k := range endpointKeys() {
		if _, said := b.said[subjectEndpoints][k.String()]; !said {
			return false
		}
	}
	return true
}

// trouble is the first fault that keeps the slices from being told, "" for none:
// they are what clients are sent by. What was put right, or an address that is
// left out, keeps nothing else.
func (b *board) trouble() string {
	for _, source := range []string{sourceAccess, sourceExport, sliceKey().String(), ipv6SliceKey().String()} {
		for _, f := range b.said[subjectEndpoints][source] {
			switch f.rule {
			case ruleTakenOver, ruleUndone, ruleAddressRefused:
			default:
				return f.text
			}
		}
	}
	return ""
}
