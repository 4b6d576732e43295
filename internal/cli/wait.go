package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cke/internal/api"
	"cke/internal/plan"
	"cke/internal/units"
)

// patience is how long nothing may move beside something blocked before
// waiting for it is given up.
const patience = 3 * time.Second

var errTimeout = errors.New("timeout")

// waiter waits until a cluster is as its spec wants it.
type waiter struct {
	s       *session
	client  *api.Client
	change  api.SpecChange
	timeout time.Duration
	show    func(api.Status) error

	last api.Status // the newest that speaks of this spec
	seen string     // its movement
}

func newWaiter(s *session, c *api.Client, change api.SpecChange, o setOptions) *waiter {
	w := &waiter{s: s, client: c, change: change, timeout: units.Duration(o.timeout).Std()}
	w.show = func(api.Status) error { return nil }
	if o.output.value == asJSON {
		return w
	}
	if _, ok := terminal(s.env.Stdout); ok {
		screen := newScreen(s.env.Stdout)
		w.show = func(st api.Status) error { return screen.draw(statusText(st, s.env.Now())) }
		return w
	}
	shown := ""
	w.show = func(st api.Status) error {
		line := progressLine(st)
		if line == shown {
			return nil
		}
		shown = line
		return s.say(line)
	}
	return w
}

// run returns the settled status; an *api.Error "refused" when cke is held back.
func (w *waiter) run(ctx context.Context) (api.Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.timeout, errTimeout)
	updates := make(chan api.Status)
	ended := make(chan error, 1)
	var watching sync.WaitGroup
	watching.Go(func() {
		ended <- watchOutcome(ctx, w.s, w.client, w.change.Cluster, func(st api.Status) error {
			select {
			case updates <- st:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	defer watching.Wait()
	defer cancel()
	return w.follow(ctx, updates, ended)
}

// follow decides what each status means.
func (w *waiter) follow(ctx context.Context, updates <-chan api.Status, ended <-chan error) (api.Status, error) {
	stuck := time.NewTimer(patience)
	stuck.Stop()
	defer stuck.Stop()
	for {
		select {
		case st := <-updates:
			if st.SpecRevision < w.change.Revision {
				continue
			}
			w.last = st
			if err := w.show(st); err != nil {
				return st, err
			}
			if st.Settled {
				return st, nil
			}
			if m := movement(st); !heldBack(st) {
				stuck.Stop()
				w.seen = ""
			} else if m != w.seen {
				w.seen = m
				stuck.Reset(patience)
			}
		case <-stuck.C:
			return w.last, w.refused()
		case err := <-ended:
			if errors.Is(context.Cause(ctx), errTimeout) {
				err = w.late()
			}
			return w.last, err
		}
	}
}

// heldBack: something is blocked and nothing goes on beside it.
func heldBack(st api.Status) bool {
	if st.Paused != nil {
		return true
	}
	return st.Plan.Has(plan.Blocked) && !slices.ContainsFunc(st.Plan.Reasons, awaited) && len(st.Plan.Steps)+len(st.Running) == 0
}

// awaited: it comes about by itself. A member whose turn to be restarted has not
// come waits for a step, and with none in the plan for what is blocked.
func awaited(r plan.Reason) bool { return r.Level == plan.Waiting && r.Rule != "restartIsPending" }

// movement changes when the cluster does, but not with every observation.
func movement(st api.Status) string {
	var b strings.Builder
	b.WriteString(st.Plan.String())
	for _, n := range st.Nodes {
		fmt.Fprintf(&b, "%s %t", n.Hostname, n.Reachable)
		if m := n.Member; m != nil {
			fmt.Fprintf(&b, " %s %s %t", m.ID, roleText(*m), m.Healthy)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (w *waiter) refused() error {
	if p := w.last.Paused; p != nil {
		return api.Refused(fmt.Sprintf("cluster %s is paused by %s", w.change.Cluster, p.By), "ckecli resume")
	}
	return api.Refused(
		fmt.Sprintf("cluster %s is held back:\n%s", w.change.Cluster, w.reasons(plan.Blocked)),
		"cke goes on trying; look with ckecli status")
}

func (w *waiter) late() error {
	message := fmt.Sprintf("cluster %s is not as wanted after %s", w.change.Cluster, units.Duration(w.timeout))
	if rest := w.reasons(plan.Blocked, plan.Waiting); rest != "" {
		message += ":\n" + rest
	}
	return &api.Error{Code: api.CodeFailed, Message: message, Hint: "cke goes on; look with ckecli status"}
}

func (w *waiter) reasons(levels ...plan.Level) string {
	var lines []string
	for _, level := range levels {
		for _, r := range w.last.Plan.Reasons {
			if r.Level == level {
				lines = append(lines, r.String())
			}
		}
	}
	return strings.Join(lines, "\n")
}

// progressLine says in one line what is going on.
func progressLine(st api.Status) string {
	what := "waiting"
	switch {
	case st.Settled:
		what = "as wanted"
	case len(st.Plan.Steps) > 0:
		what = st.Plan.Steps[0].Key() + overall(st.Progress)
	case len(st.Plan.Reasons) > 0:
		r := st.Plan.Reasons[0]
		what = fmt.Sprintf("%s %s %s", r.Level, r.Rule, r.Node)
	}
	return strings.TrimRight(fmt.Sprintf("%s: %s", headline(st), what), " ") + "\n"
}
