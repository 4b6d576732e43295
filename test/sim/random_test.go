package sim

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/tools/txtar"

	"cke/internal/plan"
)

// options are this package's own flags.
type options struct {
	seed  uint64
	from  uint64
	count int
	save  bool
	stop  bool
}

// given reads the flags; they are defined once, before any test.
func given(t *testing.T) options {
	t.Helper()
	get := func(name string) any { return flag.Lookup(name).Value.(flag.Getter).Get() }
	o := options{get("sim.seed").(uint64), get("sim.from").(uint64), get("sim.count").(int), get("sim.save").(bool), get("sim.stop").(bool)}
	if o.count == 0 {
		o.count = 2500
		if os.Getenv("CKE_TEST_LONG") == "1" { // others each time
			o.count, o.from = 50000, uint64(time.Now().UnixNano())
		}
		if s := os.Getenv("CKE_TEST_SIM"); s != "" {
			var err error
			if o.count, err = strconv.Atoi(s); err != nil {
				t.Fatalf("CKE_TEST_SIM: %v", err)
			}
		}
	}
	return o
}

func TestMain(m *testing.M) {
	flag.Uint64("sim.seed", 0, "play the history of this seed only, and print what happens")
	flag.Uint64("sim.from", 1, "the first seed")
	flag.Int("sim.count", 0, "how many histories are played; 0: $CKE_TEST_SIM, or 2,500")
	flag.Bool("sim.save", false, "keep histories that fail as regressions in testdata")
	flag.Bool("sim.stop", false, "end with the first history that fails, and leave it as it is")
	debug.SetGCPercent(400) // each history leaves all it made behind
	os.Exit(m.Run())
}

// bubbled makes an authority whose certificates are good in a bubble's time,
// which always begins at the same instant.
func bubbled(t *testing.T) (a *Authority) {
	t.Helper()
	var err error
	synctest.Test(t, func(*testing.T) { a, err = NewAuthority("main") })
	if err != nil {
		t.Fatal(err)
	}
	a.Scratch = scratch(t)
	return a
}

// scratch is a directory in memory, where there is one: what lies there is written,
// synced and dropped thousands of times.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "cke-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestRandomHistories plays a history for each seed. Those that fail are told of, made
// as short as they can be and told of again.
func TestRandomHistories(t *testing.T) {
	o, authority := given(t), bubbled(t)
	if o.seed != 0 {
		h := draw(o.seed)
		out := play(t, h, authority)
		tell(t, h, out)
		if out.failed() {
			t.Error(out.line(h))
		}
		return
	}
	tally := tally{failed: map[string]failures{}, did: map[plan.Kind]int{}}
	began := time.Now()
	tally.playAll(t, o, authority)
	tally.report(t, o, authority)
	t.Logf("%d histories in %s: %d effects, at most %d records of one deed, %d lost their data, %v", o.count, time.Since(began).Round(time.Second), tally.effects, tally.records, tally.lost, tally.did)
	tally.tame(t, o)
	for _, f := range tally.failures() { // once more, for of a long output the end is kept
		t.Error(f)
	}
}

// tame asserts that all there is happened in some history.
func (a *tally) tame(t *testing.T, o options) {
	t.Helper()
	for _, k := range []plan.Kind{
		plan.CheckHosts, plan.InstallEtcd, plan.RecordBootstrap, plan.InstallCertificates, plan.InstallUnits, plan.StartMembers, plan.ConfigureAuth,
		plan.FinishBootstrap, plan.AddLearner, plan.PromoteLearner, plan.MoveLeader, plan.RemoveMember, plan.RetireMember, plan.ForgetNode, plan.ForgetUser, plan.RestartMember, plan.FinishRestart, plan.RollBackMember,
		plan.Compact, plan.Defragment, plan.DisarmAlarm,
		plan.StopMember, plan.FinishDrain, plan.DrainNode, plan.UndrainNode, plan.RebootMachine, plan.FinishReboot,
		plan.TakeSnapshot, plan.EnableDowngrade, plan.CancelDowngrade,
		plan.PutGateway, plan.RemoveGateway, removeCorrupt, "a leader on the other side",
		halfInstalled, "a member whose clock is far behind", "another's times and a wrong clock",
	} {
		if a.did[k] == 0 && k != plan.CheckHosts && o.count >= 1000 && !o.stop {
			t.Errorf("no history needed %s; they are too tame", k)
		}
	}
}

// tally is what became of all histories.
type tally struct {
	mu      sync.Mutex
	failed  map[string]failures // by the rule that was violated
	did     map[plan.Kind]int
	effects int
	lost    int
	records int // the most of one deed
}

func (a *tally) playAll(t *testing.T, o options, authority *Authority) {
	var next sync.Mutex
	seed := o.from
	take := func() (uint64, bool) {
		next.Lock()
		defer next.Unlock()
		if seed >= o.from+uint64(o.count) || o.stop && a.anyFailed() {
			return 0, false
		}
		seed++
		return seed - 1, true
	}
	t.Run("play", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("some", func(t *testing.T) {
				t.Parallel()
				for s, more := take(); more; s, more = take() {
					a.add(s, play(t, draw(s), authority))
				}
			})
		}
	})
}

func (a *tally) anyFailed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.failed) > 0
}

func (a *tally) add(seed uint64, out outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.effects += out.effects
	a.records = max(a.records, out.records)
	if out.lost {
		a.lost++
	}
	for k, n := range out.did {
		a.did[k] += n
	}
	if out.failed() {
		a.failed[out.rule()] = a.failed[out.rule()].with(seed, out)
	}
}

// shrink drops events as long as the same rule is still violated.
func shrink(t *testing.T, h history, rule string, authority *Authority) history {
	for size := (len(h.events) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(h.events); {
			shorter := h
			shorter.events = slices.Delete(slices.Clone(h.events), from, min(from+size, len(h.events)))
			if play(t, shorter, authority).rule() == rule {
				h = shorter
			} else {
				from += size
			}
		}
	}
	for _, f := range slices.Clone(h.flags) {
		plainer := h
		plainer.flags = slices.DeleteFunc(slices.Clone(h.flags), func(o string) bool { return o == f })
		if f != "founded" && play(t, plainer, authority).rule() == rule {
			h = plainer
		}
	}
	return h
}

func save(t *testing.T, h history, name string, out outcome) {
	t.Helper()
	why := "a history that failed"
	if out.failed() {
		why = out.violations[0].String()
	}
	a := txtar.Archive{Comment: []byte(why + "\n"), Files: []txtar.File{{Name: "history", Data: []byte(h.String())}}}
	if err := os.WriteFile(filepath.Join("testdata", name+".txtar"), txtar.Format(&a), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRegressions plays the histories that failed once.
func TestRegressions(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no histories: %v", err)
	}
	authority := bubbled(t)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			h, err := parseHistory(string(a.Files[0].Data))
			if err != nil {
				t.Fatal(err)
			}
			if out := play(t, h, authority); out.failed() {
				tell(t, h, out)
				t.Error(out.violations[0])
			}
		})
	}
}
