package kube

import (
	"testing"
	"time"
)

func TestRetryGrowsAndIsHurried(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	var r retry
	if r.wait(now) != 0 {
		t.Error("the first attempt waits")
	}
	for i, ms := range []int{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000} {
		most := time.Duration(ms) * time.Millisecond
		r.failed(now)
		if w := r.wait(now); w < most/2 || w > most {
			t.Errorf("after failure %d: %s, want %s to %s", i+1, w, most/2, most)
		}
	}
	for range 100 { // no overflow
		r.failed(now)
	}
	if w := r.wait(now); w < 15*time.Second || w > 30*time.Second {
		t.Errorf("after many failures: %s", w)
	}
	r.hurry()
	if r.wait(now) != 0 {
		t.Error("a hurried attempt waits")
	}
	if r.failed(now); r.wait(now) > time.Second {
		t.Errorf("the next waits %s", r.wait(now))
	}
}

// TestWhatMattersIsTriedSoon: an election's second round must not find who waits for
// it asleep.
func TestWhatMattersIsTriedSoon(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	r := newKeeper(New(Options{}), sliceKey()).tries
	for range 2 {
		for i := range eagerTimes {
			if r.failed(now); r.wait(now) > eagerRetry {
				t.Errorf("attempt %d waits %s", i+2, r.wait(now))
			}
		}
		for range 10 { // nobody is asked so often for ever
			r.failed(now)
		}
		if w := r.wait(now); w < lastRetry/2 || w > lastRetry {
			t.Errorf("after many failures: %s", w)
		}
		r.hurry()
	}
	if r := newKeeper(New(Options{}), secretKey(bundle())).tries; r.eager != 0 {
		t.Error("hundreds of Secrets are in a hurry")
	}
}

func TestFight(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	var f fight
	for i, s := range []int{0, 1, 2, 4, 8, 16, 30, 30} {
		want := time.Duration(s) * time.Second
		if w := f.wait(now); w != want {
			t.Errorf("repair %d waits %s, want %s", i+1, w, want)
		}
		now = now.Add(f.wait(now))
		f.repaired(now)
	}
	if now = now.Add(peaceAfter); !f.over(now) || f.wait(now) != 0 {
		t.Error("a fight does not end")
	}
	if f.repaired(now); f.repairs != 1 {
		t.Errorf("the next fight begins with %d repairs", f.repairs)
	}
}
