package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// draw makes the history of a seed.
func draw(seed uint64) history {
	r := rand.New(rand.NewPCG(seed, 0x51))
	h := history{seed: seed, machines: 3 + r.IntN(4), replace: []time.Duration{20 * time.Second, 45 * time.Second}[r.IntN(2)]}
	for _, f := range []struct {
		name string
		odds int // of 100
	}{{"founded", 80}, {"systemd", 50}, {"published", 60}, {"gentle", 80}, {"older", 30}, {"gateways", 30}} {
		if r.IntN(100) < f.odds {
			h.flags = append(h.flags, f.name)
		}
	}
	h.wanted, h.members = drawNodes(r, h.machines)
	at := time.Duration(r.IntN(3000)) * time.Millisecond
	for range 3 + r.IntN(10) {
		h.events = append(h.events, Event{at, drawEvent(r, h)})
		at += drawGap(r)
	}
	return withScenes(h)
}

// drawGap is long enough for something to come of an event, or too short.
func drawGap(r *rand.Rand) time.Duration {
	ms := func(least, most int) time.Duration { return time.Duration(least+r.IntN(most-least)) * time.Millisecond }
	switch n := r.IntN(100); {
	case n < 45:
		return ms(0, 300)
	case n < 75:
		return ms(300, 5000)
	case n < 92:
		return ms(5000, 20000)
	default:
		return ms(20000, 60000)
	}
}

func drawNodes(r *rand.Rand, machines int) (nodes string, members int) {
	n := 1 + r.IntN(min(5, machines))
	if r.IntN(3) > 0 {
		n = max(n, 3)
	}
	names := make([]string, n)
	for i, p := range r.Perm(machines)[:n] {
		names[i] = fmt.Sprintf("n%d", p+1)
		if i > 0 && r.IntN(12) == 0 {
			names[i] += "/worker"
		}
	}
	slices.Sort(names)
	able := 0
	for _, name := range names {
		if !strings.HasSuffix(name, "/worker") {
			able++
		}
	}
	if r.IntN(3) == 0 {
		members = 1 + r.IntN(able)
	}
	return strings.Join(names, ","), members
}

// drawEvent draws what happens next: an edit, a fault or its end, or something
// that befalls cke.
func drawEvent(r *rand.Rand, h history) string {
	plain, machines := Words()
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	switch n := r.IntN(100); {
	case n < 30:
		return drawEdit(r, h)
	case n < 42:
		return fmt.Sprintf("cke-killed-after %d", 1+r.IntN(8))
	case n < 55:
		return pick(slices.DeleteFunc(plain, func(s string) bool { return s == "repair" })...)
	case n < 58:
		return pick("pause", "unpause", "unpause")
	case n < 62:
		return pick("user-add ", "user-remove ") + pick("app", "web")
	case n < 66:
		return drawParting(r, h.machines)
	case n < 72:
		return drawMaintenance(r, pick("leader", "follower", "busy", fmt.Sprintf("n%d", 1+r.IntN(h.machines))))
	default:
		who := pick("leader", "follower", "learner", "busy", "busy", fmt.Sprintf("n%d", 1+r.IntN(h.machines)))
		if r.IntN(6) == 0 { // what costs data is what matters most
			return pick("wipe", "unmark", "unmount", "corrupt", "corrupt") + " " + who
		}
		return pick(machines...) + " " + who
	}
}

func drawEdit(r *rand.Rand, h history) string {
	nodes, members := drawNodes(r, h.machines)
	switch r.IntN(16) {
	case 0:
		return fmt.Sprintf("spec quota=%d", 8+r.IntN(4))
	case 3:
		return fmt.Sprintf("spec heartbeat=%d", 10*r.IntN(3))
	case 1:
		return fmt.Sprintf("spec domain=d%d.example", r.IntN(3))
	case 2:
		return fmt.Sprintf("spec members=%d", 1+r.IntN(5))
	case 4, 5, 6:
		return "spec version=" + versions()[r.IntN(2)]
	case 7:
		return "spec gateways=" + []string{"n2", "n2,n4", "n4,n6", ""}[r.IntN(4)]
	default:
		return fmt.Sprintf("spec nodes=%s members=%d", nodes, members)
	}
}

// drawMaintenance is what a person asks for who looks after machines.
func drawMaintenance(r *rand.Rand, who string) string {
	return []string{
		"drain " + who, "drain " + who, "drain " + who, "drain-hard " + who, "undrain-all", "undrain-all",
		"reboot " + who, "reboot-all", "reboot-all", "reboot-hard", "reboot-none",
	}[r.IntN(11)]
}

// drawParting parts the network in two, or joins it again.
func drawParting(r *rand.Rand, machines int) string {
	if r.IntN(4) == 0 {
		return "heal"
	}
	names := make([]string, 1+r.IntN(machines-1))
	for i, p := range r.Perm(machines)[:len(names)] {
		names[i] = fmt.Sprintf("n%d", p+1)
	}
	slices.Sort(names)
	return []string{"part ", "part-off "}[r.IntN(2)] + strings.Join(names, ",")
}
