package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// withScenes adds to some histories what by chance alone hardly ever meets: several
// events on one member, or while one step is being decided.
func withScenes(h history) history {
	r := rand.New(rand.NewPCG(h.seed, 0x5ce2e))
	for range r.IntN(3) {
		at := time.Duration(r.IntN(40000)) * time.Millisecond
		h.events = append(h.events, scenes()[r.IntN(len(scenes()))](r, h, at)...)
	}
	slices.SortStableFunc(h.events, func(a, b Event) int { return int(a.At - b.At) })
	return h
}

type scene func(*rand.Rand, history, time.Duration) []Event

func scenes() []scene {
	return []scene{oldNews, oldNews, oldNews, lostOnASlowHost, slowToJoin, badSettings}
}

func soon(r *rand.Rand, most int) time.Duration {
	return time.Duration(1+r.IntN(most)) * time.Millisecond
}

// oldNews: a step is asked for, cke stands still while it is about to take it, and
// meanwhile somebody falls.
func oldNews(r *rand.Rand, h history, at time.Duration) []Event {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	cause := drawEdit(r, h)
	switch r.IntN(4) {
	case 0:
		cause = pick("wipe ", "unmark ") + pick("leader", "follower", "learner")
	case 1:
		cause = pick("spec quota=9", "spec quota=10", "spec heartbeat=20", "quota-reached", "defragment follower")
	}
	events := []Event{{at, cause}, {at + soon(r, 10), fmt.Sprintf("cke-stalls-after %d", 1+r.IntN(45))}}
	for range 1 + r.IntN(2) {
		at += soon(r, 700)
		events = append(events, Event{at, pick("kill ", "crash ", "hang ", "isolate ", "away ") + pick("leader", "follower", "follower", "busy", "learner")})
	}
	return events
}

// lostOnASlowHost: what the host says of it is seconds old.
func lostOnASlowHost(r *rand.Rand, h history, at time.Duration) []Event {
	who := fmt.Sprintf("n%d", 1+r.IntN(h.machines))
	return []Event{
		{at, "slow " + who},
		{at + soon(r, 9000), []string{"wipe ", "unmark ", "unmount "}[r.IntN(3)] + who},
		{at + soon(r, 15000), "kill " + who},
		{at + soon(r, 40000), "hears " + who},
	}
}

// slowToJoin: a member is to be added on a host that answers slowly, or no more.
func slowToJoin(r *rand.Rand, h history, at time.Duration) []Event {
	who := fmt.Sprintf("n%d", 1+r.IntN(h.machines))
	return []Event{
		{at, "slow " + who},
		{at + soon(r, 2000), drawEdit(r, h)},
		{at + soon(r, 9000), "kill follower"},
		{at + soon(r, 20000), []string{"silent ", "crash ", "hears "}[r.IntN(3)] + who},
	}
}

// badSettings: with these no member starts, and cke may be killed at that.
func badSettings(r *rand.Rand, _ history, at time.Duration) []Event {
	events := []Event{{at, "spec heartbeat=0"}}
	if r.IntN(2) == 0 {
		events = append(events, Event{at + soon(r, 300), fmt.Sprintf("cke-killed-after %d", 1+r.IntN(6))})
	}
	return events
}
