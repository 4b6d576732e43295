package hosts

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/host"
	"cke/test/lab"
)

// TestTwentyMachines: twenty machines, members on five. An idle CKE needs next
// to nothing, and one look at everything takes no longer than the slowest host.
func TestTwentyMachines(t *testing.T) {
	e := newEnv(t, 20, lab.Light())
	e.configure("interval: 10s")
	e.Start()
	all := make([]int, 20)
	for i := range all {
		all[i] = i + 1
	}
	e.etcd = ", members: 5"
	e.Set(e.yaml(all...))
	nodes := e.Settled().Nodes
	if len(nodes) != 20 {
		t.Fatalf("%d nodes", len(nodes))
	}
	// Which ones, their disks decide; and twenty machines share the box's.
	spares := slices.DeleteFunc(nodes, func(n api.NodeStatus) bool { return n.Member != nil && !n.Member.Learner })
	if len(spares) != 15 {
		t.Fatalf("%d nodes without a voter, want 15", len(spares))
	}

	e.waitFor(5 * time.Second) // what came with the founding is over
	e.reached("an idle cke with 20 machines uses at most 2 % of a core", func() (string, bool) {
		const span = 30 * time.Second
		share := 100 * e.cpu(span).Seconds() / span.Seconds()
		return fmt.Sprintf("%.2f %% of a core over %s", share, span), share <= 2
	})

	heal := e.lab.Break(t, lab.Delay(e.lab.Machine(20), 100*time.Millisecond, 0))
	defer heal()
	id, err := e.Client().Leader(t.Context())
	e.must(err)
	h := e.helper(20, host.Identity{StoreID: id.StoreID, Epoch: id.Epoch})
	e.reached("a look at all takes at most 1.5 x the slowest host's answer", func() (string, bool) {
		facts := median(t, 7, func(ctx context.Context) error {
			_, err := h.Facts(ctx, "main", e.lab.Machine(20).Addr())
			return err
		})
		look := median(t, 7, func(ctx context.Context) error {
			_, err := e.Client().Plan(ctx, "main")
			return err
		})
		ratio := float64(look) / float64(facts)
		return fmt.Sprintf("%s, the slowest host answers within %s: ratio %.2f", look, facts, ratio), ratio <= 1.5
	})
}

// reached measures until a figure is what it is to be: what else the box does makes any
// of them worse, and none better.
func (e *env) reached(what string, measure func() (figure string, good bool)) {
	e.t.Helper()
	var figures []string
	for range 5 {
		figure, good := measure()
		figures = append(figures, figure)
		if good {
			e.t.Logf("%s: %s", what, strings.Join(figures, ", before that: "))
			return
		}
	}
	e.t.Errorf("%s: it does not in any of %q", what, figures)
}

// median of how long something takes, the first time left out.
func median(t *testing.T, times int, do func(context.Context) error) time.Duration {
	t.Helper()
	var took []time.Duration
	for i := range times + 1 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		began := time.Now()
		err := do(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// cpu is what the daemon uses in a span of time.
func (e *env) cpu(span time.Duration) time.Duration {
	e.t.Helper()
	before := e.ticks()
	e.waitFor(span)
	const tick = time.Second / 100 // USER_HZ is 100 on every Linux there is
	return time.Duration(e.ticks()-before) * tick
}

func (e *env) ticks() int64 {
	e.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.PID()))
	e.must(err)
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, err := strconv.ParseInt(f[11], 10, 64)
	e.must(err)
	system, err := strconv.ParseInt(f[12], 10, 64)
	e.must(err)
	return user + system
}

// waitFor lets time pass: it is what is measured over.
func (e *env) waitFor(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}
