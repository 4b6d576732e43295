package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// ratioTarget is the largest median of cke/floor we want to see.
const ratioTarget = 1.3

// foundingPairs is how many pairs of foundings are made: etcd's first election is
// a matter of chance.
const foundingPairs = 7

// way is one of several ways to the same end; those of CKE are compared with the
// others.
type way struct {
	name order
	cke  bool
	// run measures it once, and returns the flags of a member as well.
	run func(ctx context.Context, n int) (parts, []string, error)
}

// alternate runs all ways in turn, in another order each time, so that none
// always finds the warmer machine.
func alternate(ctx context.Context, pairs int, ways []way) error {
	took := map[order][]time.Duration{}
	for n := range pairs {
		flags := map[order][]string{}
		for i := range ways {
			w := ways[(i+n)%len(ways)]
			p, f, err := w.run(ctx, n)
			if err != nil {
				return fmt.Errorf("pair %d: %s: %w", n+1, w.name, err)
			}
			took[w.name], flags[w.name] = append(took[w.name], p.total()), f
			fmt.Printf("%2d %-15s %s\n", n+1, w.name, &p)
		}
		for _, c := range ways {
			for _, f := range ways {
				if !c.cke || f.cke {
					continue
				}
				fmt.Printf("   %s to %s: ratio %.2f\n", c.name, f.name, float64(took[c.name][n])/float64(took[f.name][n]))
				if n == 0 {
					for _, d := range compareFlags(flags[c.name], flags[f.name]) {
						fmt.Println("   flags differ:", d)
					}
				}
			}
		}
	}
	summarize(ways, took)
	return nil
}

// summarize prints medians; a ratio's is of the pairs' ratios.
func summarize(ways []way, took map[order][]time.Duration) {
	for _, w := range ways {
		fmt.Printf("median %-15s %5d ms\n", w.name, median(took[w.name]).Milliseconds())
	}
	for _, c := range ways {
		for _, f := range ways {
			if !c.cke || f.cke {
				continue
			}
			var ratios []float64
			for n, t := range took[c.name] {
				ratios = append(ratios, float64(t)/float64(took[f.name][n]))
			}
			fmt.Printf("median ratio of %s to floor %s: %.2f (target at most %.1f)\n", c.name, f.name, median(ratios), ratioTarget)
		}
	}
}

// median of an even number is the upper of the middle two.
func median[T time.Duration | float64](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
