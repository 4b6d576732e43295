package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// withScenes adds to some histories what by chance alone hardly ever meets: several
// events on one member, or while one step is being decided.
func withScenes(h history) history {
	r := rand.New(rand.NewPCG(h.seed, 0x5ce2e))
	if !h.flag("founded") && r.IntN(2) == 0 {
		h.events = append(h.events, lateFounder(r, h)...)
	}
	for range r.IntN(3) {
		at := time.Duration(r.IntN(40000)) * time.Millisecond
		h.events = append(h.events, scenes()[r.IntN(len(scenes()))](r, h, at)...)
	}
	slices.SortStableFunc(h.events, func(a, b Event) int { return int(a.At - b.At) })
	return h
}

type scene func(*rand.Rand, history, time.Duration) []Event

func scenes() []scene {
	return []scene{oldNews, oldNews, oldNews, lostOnASlowHost, slowToJoin, badSettings, halfway, lostAndAnotherGoes, putBack, goneAndNotWanted, oneFails, powerLoss}
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

// halfway: cke is killed while a member gets other settings, and the spec goes back.
func halfway(r *rand.Rand, _ history, at time.Duration) []Event {
	i := r.IntN(3)
	events := []Event{
		{at, []string{"spec quota=9", "spec heartbeat=20", "spec heartbeat=0"}[i]},
		{at, "cke-killed-halfway"},
		{at + 3*time.Second + soon(r, 2000), []string{"spec quota=8", "spec heartbeat=10", "spec heartbeat=10"}[i]},
		{at + 3*time.Second + soon(r, 2000), "cke-killed"},
	}
	if r.IntN(2) == 0 {
		events = append(events, Event{at + time.Second + soon(r, 5000), []string{"kill follower", "kill leader", "all-killed", "power-cut"}[r.IntN(4)]})
		events = append(events, Event{at + 6*time.Second + soon(r, 5000), "power-back"})
	}
	return events
}

// lostAndAnotherGoes: a member runs on files that are gone, and another is not wanted.
func lostAndAnotherGoes(r *rand.Rand, h history, at time.Duration) []Event {
	gone := 1 + r.IntN(h.machines)
	var all, rest []string
	for i := range h.machines {
		all = append(all, fmt.Sprintf("n%d", i+1))
		if i+1 != gone {
			rest = append(rest, all[i])
		}
	}
	edit := fmt.Sprintf("spec nodes=%s members=%d", strings.Join(rest, ","), min(len(rest), 2+r.IntN(2)))
	events := []Event{
		{at, fmt.Sprintf("spec nodes=%s members=3", strings.Join(all, ","))},
		{at + 25*time.Second, []string{"wipe ", "unmark "}[r.IntN(2)] + []string{"leader", "follower"}[r.IntN(2)]},
		{at + 25*time.Second + soon(r, 600), edit},
	}
	if r.IntN(2) == 0 {
		events = append(events, Event{at + 24*time.Second + soon(r, 2000), []string{"kill follower", "crash follower"}[r.IntN(2)]})
	}
	return events
}

// putBack: what was moved aside lies in its old place again, beside another member.
func putBack(r *rand.Rand, h history, at time.Duration) []Event {
	who := fmt.Sprintf("n%d", 1+r.IntN(h.machines))
	return []Event{{at, "unmark " + who}, {at + 20*time.Second + soon(r, 9000), "put-back " + who}, {at + 30*time.Second + soon(r, 9000), "put-back busy"}}
}

// goneAndNotWanted: a machine falls silent, and soon after the spec names it no more.
func goneAndNotWanted(r *rand.Rand, h history, at time.Duration) []Event {
	gone := 1 + r.IntN(h.machines)
	var rest []string
	for i := range h.machines {
		if i+1 != gone && len(rest) < 4 {
			rest = append(rest, fmt.Sprintf("n%d", i+1))
		}
	}
	return []Event{
		{at, fmt.Sprintf("spec nodes=%s,n%d members=%d", strings.Join(rest, ","), gone, len(rest)+1)},
		{at + 15*time.Second, []string{"away", "crash"}[r.IntN(2)] + fmt.Sprintf(" n%d", gone)},
		{at + 15*time.Second + soon(r, 12000), fmt.Sprintf("spec nodes=%s members=%d", strings.Join(rest, ","), len(rest))},
	}
}

// oneFails: a member does not stay up, and there is other work.
func oneFails(r *rand.Rand, h history, at time.Duration) []Event {
	who := fmt.Sprintf("n%d", 1+r.IntN(h.machines))
	return []Event{
		{at, "crashes " + who},
		{at + 15*time.Second + soon(r, 15000), []string{"user-add web", "user-remove web", "spec domain=d3.example"}[r.IntN(3)]},
		{at + 15*time.Second + soon(r, 15000), []string{"kill follower", "user-add app", "certs-lost follower"}[r.IntN(3)]},
	}
}

// lateFounder: a founder is not heard of while the others found the cluster.
func lateFounder(r *rand.Rand, h history) []Event {
	who := fmt.Sprintf("n%d", 1+r.IntN(h.machines))
	how := []string{"silent", "crash", "refuses"}[r.IntN(3)]
	at := soon(r, 1500)
	return []Event{{at, how + " " + who}, {at + time.Minute, "hears " + who}, {at + time.Minute, "boot " + who}}
}

// powerLoss: all machines go, and one of those with a member comes back after the
// others, where there is a spare.
func powerLoss(r *rand.Rand, h history, at time.Duration) []Event {
	var all []string
	for i := range h.machines {
		all = append(all, fmt.Sprintf("n%d", i+1))
	}
	events := []Event{
		{at, fmt.Sprintf("spec nodes=%s members=3", strings.Join(all, ","))},
		{at + 20*time.Second, "power-cut"},
	}
	back := at + 50*time.Second + soon(r, 20000)
	late := r.IntN(3)
	for i, n := range all {
		if i != late {
			events = append(events, Event{back + soon(r, 2000), "boot " + n})
		}
	}
	return append(events, Event{back + 15*time.Second + soon(r, 20000), "boot " + all[late]})
}
