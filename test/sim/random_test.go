package sim

import (
	"flag"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
)

// bubbled makes an authority whose certificates are good in a bubble's time,
// which always begins at the same instant.
func bubbled(t *testing.T) (a *Authority) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		if a, err = NewAuthority("main"); err != nil {
			t.Fatal(err)
		}
	})
	return a
}

// count is how many histories are played.
func count(t *testing.T) int {
	n := 300
	if s := os.Getenv("CKE_TEST_SIM"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("CKE_TEST_SIM: %v", err)
		}
	}
	return n
}

func TestRandomHistories(t *testing.T) {
	authority := bubbled(t)
	n := count(t)
	seeds := make(chan uint64)
	go func() {
		defer close(seeds)
		for i := range n {
			seeds <- uint64(i + 1)
		}
	}()
	var mu sync.Mutex
	failed := map[string][]uint64{}
	effects := 0
	t.Run("all", func(t *testing.T) {
		for range 2 {
			t.Run("some", func(t *testing.T) {
				t.Parallel()
				for seed := range seeds {
					out := play(t, draw(seed), authority, false)
					mu.Lock()
					effects += out.effects
					if out.failed() {
						failed[out.rule()] = append(failed[out.rule()], seed)
						if len(failed[out.rule()]) < 3 {
							t.Logf("seed %d: %v", seed, out.violations[0])
						}
					}
					mu.Unlock()
				}
			})
		}
	})
	for rule, seeds := range failed {
		t.Errorf("%s: %d histories, %v", rule, len(seeds), seeds[:min(10, len(seeds))])
	}
	t.Logf("%d histories, %d effects", n, effects)
}

func TestReplay(t *testing.T) {
	if *seed == 0 {
		return
	}
	h := draw(*seed)
	out := play(t, h, bubbled(t), true)
	t.Logf("\n%s", h)
	for _, l := range out.trace {
		t.Log(l)
	}
	t.Log(out.world)
	for _, v := range out.violations {
		t.Error(v)
	}
}

var seed = flag.Uint64("sim.seed", 0, "play the history of this seed and print what happens")
