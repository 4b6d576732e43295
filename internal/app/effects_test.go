package app

import (
	"testing"

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
