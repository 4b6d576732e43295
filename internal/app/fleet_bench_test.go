package app

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"cke/internal/cluster"
)

// BenchmarkFleet is what a daemon of many clusters takes to begin, and to take in a
// change of every one; each should grow as their number does.
func BenchmarkFleet(b *testing.B) {
	for _, n := range []int{100, 300, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			a := fleetOf(b, dir, n)
			for b.Loop() {
				began := time.Now()
				must(b, a.Start(b.Context()))
				started := time.Now()
				at := a.store.Epoch()
				for i := range n {
					_, rev, err := a.store.Spec(b.Context(), fmt.Sprintf("c%04d", i))
					must(b, err)
					_, _, err = a.store.PutSpec(b.Context(), cluster.Spec{Name: fmt.Sprintf("c%04d", i), ClusterDomain: fmt.Sprint("d", at)}, rev)
					must(b, err)
				}
				wrote := time.Now()
				for i := range n {
					c, err := a.careFor(b.Context(), fmt.Sprintf("c%04d", i))
					must(b, err)
					for v, changed := c.loop.View(); v.Wanted.Spec.ClusterDomain != fmt.Sprint("d", at); v, changed = c.loop.View() {
						<-changed
					}
				}
				b.ReportMetric(float64(started.Sub(began).Milliseconds()), "ms/begin")
				b.ReportMetric(float64(wrote.Sub(started).Milliseconds()), "ms/write")
				b.ReportMetric(float64(time.Since(wrote).Milliseconds()), "ms/taken-in")
				b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
				must(b, a.Stop(context.WithoutCancel(b.Context())))
				a = New(a.o)
			}
		})
	}
}
