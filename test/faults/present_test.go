package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/test/faults/schedule"
	"cke/test/lab"
)

// oncePresent is a fault of a process that an operation of CKE's may have ended just
// now: it is waited for, unless its machine carries no member any more. Then there is
// nothing to break.
func (r *run) oncePresent(m *lab.Machine, f lab.Fault) lab.Fault {
	begin := f.Break
	f.Break = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), settling)
		defer cancel()
		return present(ctx, begin, func() (bool, error) {
			s, err := r.in.Client().Status(ctx, "main")
			return carries(s, m.Name()), err
		})
	}
	return f
}

// present does something to a process as soon as there is one to do it to, and gives up
// where none is due.
func present(ctx context.Context, do func() error, due func() (bool, error)) error {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := do()
		if !errors.Is(err, lab.ErrNoProcess) {
			return err
		}
		if is, unknown := due(); unknown == nil && !is {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w within %s", err, settling)
		case <-again.C:
		}
	}
}

// carries says whether a machine has a member.
func carries(s api.Status, machine string) bool {
	return slices.ContainsFunc(s.Nodes, func(n api.NodeStatus) bool {
		return n.Member != nil && n.Hostname == cluster.NodeName(machine)
	})
}

// endedEarly says that CKE itself has ended a fault: a member that is stopped, and so
// does not serve, is restarted for the sake of other settings.
func (r *run) endedEarly(f schedule.Fault, victim *lab.Machine) (bool, error) {
	if f != schedule.StallEtcd {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := victim.Exec(ctx, "sh", "-c", "ps -ww -eo s=,args= | grep '^T "+memberProcess[1:]+"' || true")
	return out == "", err
}

// TestAProcessIsWaitedFor that was ended just before it was to be broken, and one that
// is due no more is not.
func TestAProcessIsWaitedFor(t *testing.T) {
	none := fmt.Errorf("pkill: %w", lab.ErrNoProcess)
	other := errors.New("the machine is off")
	for name, c := range map[string]struct {
		answers []error
		due     []bool
		want    error
		tries   int
	}{
		"it is there":              {[]error{nil}, nil, nil, 1},
		"it comes":                 {[]error{none, none, nil}, []bool{true, true}, nil, 3},
		"its member was taken out": {[]error{none, none}, []bool{true, false}, nil, 2},
		"it is something else":     {[]error{none, other}, []bool{true}, other, 2},
	} {
		tries, asked := 0, 0
		err := present(t.Context(), func() error { tries++; return c.answers[tries-1] },
			func() (bool, error) { asked++; return c.due[asked-1], nil })
		if !errors.Is(err, c.want) || tries != c.tries {
			t.Errorf("%s: %v after %d tries", name, err, tries)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := present(ended, func() error { return none }, func() (bool, error) { return false, other }); !errors.Is(err, lab.ErrNoProcess) {
		t.Errorf("it never comes, and nobody knows whether it is to: %v", err)
	}
}
