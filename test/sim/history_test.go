package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
	"cke/internal/units"
)

// history is a world and what happens to it, as text: a line for the world, one
// for each event.
type history struct {
	seed     uint64
	machines int
	wanted   string // the nodes at first
	members  int
	replace  time.Duration
	flags    []string // founded, systemd, published, gentle, older
	events   []Event
}

func (h history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "world seed=%d machines=%d nodes=%s members=%d replace-after=%s", h.seed, h.machines, h.wanted, h.members, h.replace)
	for _, f := range h.flags {
		fmt.Fprintf(&b, " %s", f)
	}
	fmt.Fprintln(&b)
	for _, e := range h.events {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

func parseHistory(text string) (h history, err error) {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "world "):
			err = h.parseWorld(strings.Fields(line)[1:])
		default:
			var e Event
			e, err = ParseEvent(line)
			h.events = append(h.events, e)
		}
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

func (h *history) parseWorld(words []string) (err error) {
	for _, word := range words {
		k, v, given := strings.Cut(word, "=")
		switch {
		case !given:
			h.flags = append(h.flags, word)
		case k == "seed":
			h.seed, err = strconv.ParseUint(v, 10, 64)
		case k == "machines":
			h.machines, err = strconv.Atoi(v)
		case k == "nodes":
			h.wanted = v
		case k == "members":
			h.members, err = strconv.Atoi(v)
		case k == "replace-after":
			h.replace, err = time.ParseDuration(v)
		default:
			err = fmt.Errorf("a world has no %q", k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h history) flag(name string) bool {
	for _, f := range h.flags {
		if f == name {
			return true
		}
	}
	return false
}

// outcome is what became of a history.
type outcome struct {
	violations []Violation
	trace      []string
	world      string
	took       time.Duration // until it came to rest after its last event
	did        map[plan.Kind]int
	records    int // of the deed with the most of them
	told       []record.Record
	effects    int
	lost       bool
}

func (o outcome) failed() bool { return len(o.violations) > 0 }

// rule is the first that was violated.
func (o outcome) rule() string {
	if !o.failed() {
		return ""
	}
	return o.violations[0].Rule
}

// play lets a history happen in a bubble of virtual time. Nothing fails in there:
// what went wrong is brought out.
func play(t *testing.T, h history, authority *Authority) (out outcome) {
	synctest.Test(t, func(*testing.T) {
		w, err := h.world(authority)
		if err != nil {
			out.violations = append(out.violations, Violation{0, "historyMakesSense", err.Error()})
			return
		}
		w.Begin()
		began := time.Now()
		for _, e := range h.events {
			pass(e.At - time.Since(began))
			if err := w.Happen(e.What); err != nil {
				out.violations = append(out.violations, Violation{e.At, "historyMakesSense", err.Error()})
			}
			if len(w.Violations()) > 0 {
				break
			}
		}
		if len(w.Violations()) == 0 {
			out.rest(w)
		}
		out.violations = append(out.violations, w.Violations()...)
		out.world = w.String() + w.View().Plan.String()
		out.effects, out.lost = w.Effects(), w.LostForGood()
		out.did, out.records, out.told = w.did(), w.mostRecords(), w.shelf.records
		w.Close()
		out.trace = w.Trace()
	})
	return out
}

func (h history) world(authority *Authority) (*World, error) {
	w, err := New(Options{
		Seed: h.seed, Machines: h.machines, Authority: authority, Trace: true, Quiet: synctest.Wait,
		Systemd: h.flag("systemd"), Published: h.flag("published"), Gentle: h.flag("gentle"),
		Spec: h.spec(), Founded: h.flag("founded"),
	})
	return w, err
}

// spec is what is wanted at first.
func (h history) spec() cluster.Spec {
	w, err := New(Options{Machines: h.machines, Systemd: h.flag("systemd"), Authority: &Authority{}})
	if err != nil {
		return cluster.Spec{}
	}
	edit := []string{"nodes=" + h.wanted, "members=" + strconv.Itoa(h.members)}
	if h.flag("gateways") {
		edit = append(edit, "gateways=n2,n4")
	}
	if err := w.edit(edit); err != nil {
		return cluster.Spec{}
	}
	s := w.shelf.spec
	s.Etcd.ReplaceAfter = units.Duration(h.replace)
	if h.flag("older") {
		s.Etcd.Version = OlderVersion
	}
	return s
}

// restWithin is how long a world may take to come to rest once nothing is broken.
const restWithin = 10 * time.Minute

// rest ends the faults and waits until everything is as wanted or, where too much
// data is gone, until that is said.
func (o *outcome) rest(w *World) {
	began := time.Now()
	w.do(func() { w.logf("--- repair"); w.repair() })
	blocked := 0
	for time.Since(began) < restWithin && len(w.Violations()) == 0 {
		pass(3 * time.Second)
		w.turn("rest")
		w.do(w.mendSettings)
		w.do(w.undrainAll)
		v := w.View()
		if slices.ContainsFunc(v.Plan.Reasons, func(r plan.Reason) bool {
			// Beside one that runs on bad data nobody who was stopped starts.
			return r.Level == plan.Blocked && (r.Rule == "corruptionIsNotClear" || r.Rule == "stepKeepsFailing" && !v.State.Etcd.Quorum)
		}) {
			w.do(w.mendData)
		}
		if slices.ContainsFunc(v.Plan.Reasons, func(r plan.Reason) bool { return r.Level == plan.Blocked && r.Rule == "quorumWouldBeLost" }) {
			w.do(w.giveUpReboot)
		}
		if why := w.Misplaced(); why == "" && v.Plan.Settled() && len(v.Running) == 0 {
			o.took = time.Since(began)
			return
		}
		if blocked++; !v.Plan.Has(plan.Blocked) {
			blocked = 0
		}
		if w.doomedNow() && blocked > 8 { // a start that is tried again every 30 s hides it for a moment
			return
		}
	}
	if len(w.Violations()) > 0 {
		return
	}
	why := w.Misplaced()
	if why == "" {
		why = "everything is in place, and the plan does not come to rest"
	}
	o.violations = append(o.violations, Violation{w.age(), "itComesToRest", why})
}

func (w *World) doomedNow() (is bool) {
	w.do(func() { is = w.lostForGood() || w.doomed() })
	return is
}

// mostRecords is how many records the deed has of which there are the most.
func (w *World) mostRecords() (most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.recorded {
		most = max(most, n)
	}
	return most
}

// removeCorrupt counts among the kinds what is one with a reason of its own.
const removeCorrupt plan.Kind = "remove-member, corrupt"

// did counts the steps that were carried out, by kind.
func (w *World) did() map[plan.Kind]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := map[plan.Kind]int{}
	for what, n := range w.marks {
		m[plan.Kind(what)] = n
	}
	for _, r := range w.shelf.records {
		if r.Step != nil && r.Outcome == "done" {
			if m[r.Step.Kind]++; r.Step.Corrupt {
				m[removeCorrupt]++
			}
		}
	}
	return m
}
