package e2e

import (
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/test/drive"
)

// rateOfLoad is asked of all endpoints together, of puts and as much of gets.
const rateOfLoad = 500

// TestRollingUnderLoad restarts three members for a flag, and then takes them to
// the newer line of etcd, under a load that notices whatever applications would.
// It does not run beside others: the load is a good part of what the machine has.
func TestRollingUnderLoad(t *testing.T) { //nolint:paralleltest // see above
	e := newEnv(t)
	e.Start()
	older := "version: " + drive.OlderVersion
	e.Set(e.withSettings(older, 1, 2, 3))
	e.CLI("etcd", "user-add", "app", "/app/")
	for _, c := range []struct{ name, settings string }{
		{"restart", older + `, extra_args: {max-request-bytes: "2000000"}`},
		{"upgrade", "version: " + cluster.DefaultVersion + `, extra_args: {max-request-bytes: "2000000"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := e.in(t)
			before := len(e.restarted())
			load := e.StartRate(rateOfLoad, e.addrs([]int{1, 2, 3})...)
			load.Run(2 * time.Second)
			began := time.Now()
			e.Set(e.withSettings(c.settings, 1, 2, 3))
			t.Logf("the change took %s", time.Since(began).Round(10*time.Millisecond))
			load.Run(time.Since(began) + 4*time.Second)
			load.Finish(1)
			if n := len(e.restarted()) - before; n != 3 {
				t.Errorf("%d members were restarted, want three", n)
			}
		})
	}
	e.NeverBelowQuorum()
}
