package host

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"cke/internal/cluster"
)

// What a machine says is bounded, and nothing in it does more to a terminal
// than show text.
func TestAMachineCannotSayTooMuch(t *testing.T) {
	t.Parallel()
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"hostname":"`)
		for range maxAnswer/(1<<20) + 1 {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<20)); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, `"}`)
	})
	long := strings.Repeat("\x1b[31mé", 20_000)
	facts := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(Facts{
			Hostname: long, Foreign: []string{long}, StoreID: long, Unit: &cluster.UnitState{Exit: long, Log: long},
		})
	})
	guard := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusPreconditionFailed)
		writeFailure(t, w, Failure{Guard: &GuardError{Kind: InUse, Reason: long}})
	})
	fine := func(s string) bool { return len(s) <= maxSaying+3*maxSaying && !strings.Contains(s, "\x1b") }
	for name, open := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := open(t, endless).Facts(t.Context(), "main", netip.Addr{}); err == nil || !strings.Contains(err.Error(), "the answer is larger than") {
				t.Errorf("got %v", err)
			}
			if err := open(t, endless).Claim(t.Context()); err == nil || !strings.Contains(err.Error(), "the answer is larger than") {
				t.Errorf("got %v", err)
			}
			f, err := open(t, facts).Facts(t.Context(), "main", netip.Addr{})
			if err != nil || !fine(f.Hostname) || !fine(f.Foreign[0]) || !fine(f.StoreID) || !fine(f.Unit.Exit) || !fine(f.Unit.Log) {
				t.Errorf("%v %.500v", err, f)
			}
			var g *GuardError
			if err := open(t, guard).Claim(t.Context()); !errors.As(err, &g) || g.Kind != InUse || !fine(g.Reason) {
				t.Errorf("got %.500v", err)
			}
		})
	}
}
