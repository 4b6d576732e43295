package plan

import (
	"flag"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cke/internal/cluster"
)

// TestModel lets Decide care for a simulated cluster while the environment and
// people interfere, CKE dying between any two effects. What must hold at every
// instant is checked after every effect (sim.inspect, hand.does, box verbs), of
// every plan (sim.look) and, once the faults end, of where it all comes to rest
// (sim.rest).
//
// The histories are the same in each run, as those of test/sim are. CKE_TEST_LONG=1 looks
// longer, at others each time; -rapid.seed and the fail files repeat a case.
func TestModel(t *testing.T) {
	checks, steps, seed := "1000", "40", "1"
	if os.Getenv("CKE_TEST_LONG") != "" {
		checks, steps, seed = "20000", "80", "0"
	}
	preset(t, "rapid.seed", seed)
	preset(t, "rapid.checks", checks)
	preset(t, "rapid.steps", steps)
	done := map[Kind]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t)
		s.done = done
		gentle := rapid.IntRange(0, 3).Draw(t, "gentle") > 0
		if rapid.IntRange(0, 3).Draw(t, "founded") > 0 {
			s.rest()
		}
		t.Repeat(s.actions(gentle))
		s.repair()
		s.rest()
	})
	for _, k := range []Kind{
		CheckHosts, InstallEtcd, RecordBootstrap, InstallCertificates, InstallUnits, StartMembers, ConfigureAuth, FinishBootstrap, AddLearner,
		PromoteLearner, MoveLeader, RemoveMember, RetireMember, ForgetNode, InstallClientCertificates, PutGateway, RemoveGateway, ForgetUser, StopMember, FinishDrain,
		DrainNode, UndrainNode, RebootMachine, FinishReboot,
		RestartMember, FinishRestart, RollBackMember, TakeSnapshot, EnableDowngrade, CancelDowngrade,
		Compact, Defragment, DisarmAlarm, ForgetDefrag,
	} {
		if done[k] == 0 {
			t.Errorf("no world needed %s; the model is too tame", k)
		}
	}
	t.Logf("steps carried out: %v", done)
}

// preset sets one of rapid's flags for this test, unless the caller did.
func preset(t *testing.T, name, value string) {
	t.Helper()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given {
		return
	}
	f := flag.Lookup(name)
	before := f.Value.String()
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Value.Set(before); err != nil {
			t.Error(err)
		}
	})
}

// actions are the faults and, as often as some of them, CKE at work.
func (s *sim) actions(gentle bool) map[string]func(*rapid.T) {
	all := s.faults(gentle)
	faults, strikes := rapid.SampledFrom(sortedKeys(all)), rapid.SampledFrom([]string{
		"data wiped", "host down", "member isolated", "member killed", "network away",
	})
	interfere := func(t *rapid.T) {
		from := faults
		if s.aim != nil {
			from = strikes
		}
		for range rapid.IntRange(1, 2).Draw(t, "faults") {
			s.faults(gentle)[from.Draw(t, "meanwhile")](t)
		}
	}
	for _, name := range []string{"CKE works 1", "CKE works 2", "CKE works 3", "CKE works 4"} {
		all[name] = func(t *rapid.T) {
			w := newWheel(s)
			for range rapid.IntRange(1, 8).Draw(t, "rounds") {
				w.round()
			}
		}
	}
	for _, name := range []string{"CKE is killed 1", "CKE is killed 2"} {
		all[name] = func(t *rapid.T) { s.oneStep(t, rapid.IntRange(0, 6).Draw(t, "effects"), nil) }
	}
	for _, name := range []string{"CKE acts on what was 1", "CKE acts on what was 2", "CKE acts on what was 3"} {
		all[name] = func(t *rapid.T) { s.oneStep(t, -1, interfere) }
	}
	all["settings are tried"] = s.trySettings
	all["a restart is cut short"] = s.halfway
	all[""] = func(*rapid.T) { s.inspect() }
	return all
}

// oneStep carries out any step of a plan, killed after some effects if left is
// not negative, with something happening between the decision and the act.
func (s *sim) oneStep(t *rapid.T, left int, meanwhile func(*rapid.T)) {
	p := s.look()
	if len(p.Steps) == 0 {
		return
	}
	step := rapid.SampledFrom(p.Steps).Draw(t, "step")
	if i := slices.IndexFunc(p.Steps, Step.ChangesMembership); i >= 0 && rapid.Bool().Draw(t, "membership") {
		step = p.Steps[i]
	}
	first := rapid.IntRange(0, 4).Draw(t, "first node")
	if meanwhile != nil {
		if rapid.Bool().Draw(t, "aimed") {
			s.aim = slices.DeleteFunc(slices.Clone(step.Nodes), func(n cluster.NodeName) bool { return !slices.Contains(s.cared(), n) })
		}
		meanwhile(t)
		s.aim = nil
	}
	s.logf("CKE, %d effects: %s", left, step.Key())
	h := &hand{s: s, left: left, first: first}
	if step.StopFirst && rapid.Bool().Draw(t, "minds change") {
		h.stopped = func() { s.editSpec(t) }
	}
	s.logf("  %v", orOK(h.apply(step)))
	if left >= 0 {
		s.eyes = newEyes()
		s.epoch++
	}
}
