package app

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"cke/internal/execute"
	"cke/internal/plan"
)

// TestMoments: after which effects of a trace a daemon would end itself.
func TestMoments(t *testing.T) {
	type effect struct {
		kind plan.Kind
		e    execute.Effect
	}
	trace := []effect{
		{plan.RestartMember, execute.HostInstallUnit},
		{plan.RestartMember, execute.StorePutRestart},
		{plan.FinishRestart, execute.StoreDropRestart},
	}
	for text, want := range map[string]int{
		"2":                                 2,
		"4":                                 0,
		"finish-restart":                    3,
		"restart-member":                    1,
		"restart-member store.put-restart":  2,
		"restart-member host.stop-unit":     0,
		"!":                                 1,
		"!restart-member host.install-unit": 2,
		"!restart-member store.put-restart,restart-member host.install-unit":                                   3,
		"!restart-member store.put-restart,restart-member host.install-unit,finish-restart store.drop-restart": 0,
	} {
		m, err := parseMoment(func(string) string { return text }, envKill)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for i, e := range trace {
			if got == 0 && m.has(i+1, e.kind, e.e) {
				got = i + 1
			}
		}
		if got != want {
			t.Errorf("%q: after effect %d, want %d", text, got, want)
		}
	}
	if _, err := parseMoment(func(string) string { return "-1" }, envKill); err == nil {
		t.Error("-1 is a moment")
	}
	if m, err := parseMoment(func(string) string { return "" }, envKill); m.has(1, plan.Compact, execute.EtcdCompact) || err != nil {
		t.Errorf("nothing is a moment (%v)", err)
	}
}

// TestWhatIsUnderWayIsNotCutShort: a daemon that ends after an effect that is none of
// others begins no more, and ends when the last of those it had begun is noted.
func TestWhatIsUnderWayIsNotCutShort(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace")
	synctest.Test(t, func(t *testing.T) {
		past := make(chan struct{})
		ends := 0
		h := &Hook{trace: trace, kill: &moment{others: []string{"retire-member host.stop-unit"}}, end: func() { ends++ }, past: past}
		var begun sync.WaitGroup
		began := map[string]bool{}
		do := func(kind plan.Kind, e execute.Effect) (finish func()) {
			done := make(chan struct{})
			begun.Go(func() {
				h.Before()
				began[string(e)] = true
				<-done
				h.After(kind, e)
			})
			synctest.Wait()
			return func() { close(done); synctest.Wait() }
		}
		stop, promote, known := do(plan.RetireMember, execute.HostRetireUnit), do(plan.PromoteLearner, execute.EtcdPromote), do(plan.RetireMember, execute.HostStopUnit)
		known()
		stop()
		if ends != 0 {
			t.Error("it ends while a promotion is under way")
		}
		late := do(plan.AddLearner, execute.EtcdAddLearner)
		if began[string(execute.EtcdAddLearner)] {
			t.Error("another mutation begins")
		}
		promote()
		if ends != 1 {
			t.Errorf("it has ended %d times when nothing is under way", ends)
		}
		close(past)
		late()
		begun.Wait()
	})
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	want := "retire-member host.stop-unit\nretire-member host.retire-unit\npromote-learner etcd.promote\nadd-learner etcd.add-learner\n"
	if string(b) != want {
		t.Errorf("the trace is %q, want %q", b, want)
	}
}

// TestWhoStopsHasNothingUnderWay: a daemon that stops after an effect lets what it has
// begun come to its end, and begins nothing before it was woken.
func TestWhoStopsHasNothingUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stops, woken := 0, make(chan struct{})
		h := &Hook{stop: &moment{kind: plan.InstallCertificates}, standStill: func() { stops++; <-woken }}
		var begun sync.WaitGroup
		began := map[execute.Effect]bool{}
		do := func(kind plan.Kind, e execute.Effect) (finish func()) {
			done := make(chan struct{})
			begun.Go(func() {
				h.Before()
				began[e] = true
				<-done
				h.After(kind, e)
			})
			synctest.Wait()
			return func() { close(done); synctest.Wait() }
		}
		files, unit := do(plan.InstallCertificates, execute.HostPutFiles), do(plan.InstallUnits, execute.HostInstallUnit)
		files()
		if stops != 0 {
			t.Error("it stops while a unit is being installed")
		}
		late := do(plan.AddLearner, execute.EtcdAddLearner)
		if began[execute.EtcdAddLearner] {
			t.Error("another mutation begins")
		}
		unit()
		if stops != 1 || began[execute.EtcdAddLearner] {
			t.Errorf("it has stopped %d times when nothing is under way; another mutation has begun: %v", stops, began[execute.EtcdAddLearner])
		}
		close(woken)
		synctest.Wait()
		late()
		again := do(plan.InstallCertificates, execute.HostPutFiles)
		again()
		if stops != 1 || !began[execute.EtcdAddLearner] {
			t.Errorf("woken, it has stopped %d times, and another mutation has begun: %v", stops, began[execute.EtcdAddLearner])
		}
		begun.Wait()
	})
}
