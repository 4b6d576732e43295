package sim

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestAHistoryGoesTheSameEachTime, alone on one processor and beside others on more than
// there are: whatever fails once can be looked at again.
func TestAHistoryGoesTheSameEachTime(t *testing.T) {
	o, authority := given(t), bubbled(t)
	count := max(o.count/25, 100)
	once, again := stories(t, o.from, count, 1, authority), stories(t, o.from, count, 2*runtime.NumCPU(), authority)
	differ := 0
	for i := range once {
		if slices.Equal(once[i], again[i]) {
			continue
		}
		if differ++; differ > 5 {
			continue
		}
		n := 0
		for n < min(len(once[i]), len(again[i])) && once[i][n] == again[i][n] {
			n++
		}
		part := func(s []string) string { return strings.Join(s[max(0, n-5):min(len(s), n+5)], "\n") }
		t.Errorf("seed %d goes once\n%s\nand another time\n%s", o.from+uint64(i), part(once[i]), part(again[i]))
	}
	if differ > 0 {
		t.Errorf("%d of %d histories go another way when they are played again", differ, count)
	}
}

// stories are all that happens in the histories of so many seeds, played by so many
// processors.
func stories(t *testing.T, from uint64, count, procs int, authority *Authority) [][]string {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	all := make([][]string, count)
	var mu sync.Mutex
	next := 0
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	t.Run("play", func(t *testing.T) {
		for range procs {
			t.Run("some", func(t *testing.T) {
				t.Parallel()
				for i := take(); i < count; i = take() {
					all[i] = play(t, draw(from+uint64(i)), authority).story()
				}
			})
		}
	})
	return all
}

// story is what happened, what was recorded of it, and what came of it.
func (o outcome) story() []string {
	story := slices.Clone(o.trace)
	for _, r := range o.told {
		story = append(story, r.String())
	}
	for _, v := range o.violations {
		story = append(story, v.String())
	}
	return append(story, strings.Split(o.world, "\n")...)
}
