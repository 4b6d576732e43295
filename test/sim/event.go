package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

// Event is something that happens to a world, in words: "kill leader",
// "spec nodes=n1,n2 members=2".
type Event struct {
	At   time.Duration
	What string
}

func (e Event) String() string { return e.At.String() + " " + e.What }

// ParseEvent reads what String writes.
func ParseEvent(s string) (Event, error) {
	at, what, _ := strings.Cut(strings.TrimSpace(s), " ")
	d, err := time.ParseDuration(at)
	if err != nil {
		return Event{}, fmt.Errorf("read event %q: %w", s, err)
	}
	return Event{d, strings.TrimSpace(what)}, nil
}

// Happen lets an event happen now. An error is a word nobody knows.
func (w *World) Happen(what string) (err error) {
	w.turn(what)
	w.do(func() {
		w.logf("--- %s", what)
		err = w.happen(strings.Fields(what))
	})
	return err
}

func (w *World) happen(words []string) error {
	if len(words) == 0 {
		return fmt.Errorf("an event without words")
	}
	verb, rest := words[0], words[1:]
	if do, ok := onWorld()[verb]; ok && len(rest) == 0 {
		do(w)
		return nil
	}
	if do, ok := onMachine()[verb]; ok && len(rest) == 1 {
		if m := w.victim(rest[0]); m != nil {
			w.logf("    %s", m.name())
			m.struck = w.raft.at
			do(m)
		}
		return nil
	}
	switch {
	case verb == "spec":
		return w.edit(rest)
	case verb == "cke-killed-after" && len(rest) == 1:
		n, err := strconv.Atoi(rest[0])
		if c := w.newest(); err == nil && !c.dead {
			c.lives = n
		}
		return err
	case (verb == "part" || verb == "part-off") && len(rest) == 1:
		w.part(rest[0], verb == "part-off")
	case verb == "cke-stalls-after" && len(rest) == 1:
		n, err := strconv.Atoi(rest[0])
		w.newest().stallsIn = n
		return err
	case verb == "user-add" && len(rest) == 1:
		w.addUser(cluster.User{Name: rest[0], Prefix: "/" + rest[0] + "/"})
	case verb == "user-remove" && len(rest) == 1:
		w.removeUser(rest[0])
	case verb == "pause":
		w.shelf.paused = &cluster.Pause{By: "sim", Why: "an event", At: time.Now()}
		w.wake()
	case verb == "unpause":
		w.shelf.paused = nil
		w.wake()
	default:
		return fmt.Errorf("nobody knows %q", strings.Join(words, " "))
	}
	return nil
}

// victim is whom a fault strikes: a machine by name or by what it is now. Nil:
// there is no such machine now.
func (w *World) victim(who string) *machine {
	if m, ok := w.machines[cluster.NodeName(who)]; ok {
		return m
	}
	busy := map[cluster.NodeName]bool{}
	if len(w.ckes) > 0 {
		v, _ := w.newest().loop.View()
		for _, s := range append(slices.Clone(v.Running), v.Plan.Steps...) {
			for _, n := range s.Nodes {
				busy[n] = true
			}
		}
	}
	for _, m := range w.all() {
		p := peer{}
		if i := slices.IndexFunc(w.raft.agreed, func(p peer) bool { return p.url == m.peerURL }); i >= 0 {
			p = w.raft.agreed[i]
		}
		switch {
		case who == "leader" && p.id != 0 && p.id == w.raft.leader,
			who == "follower" && p.id != 0 && !p.learner && p.id != w.raft.leader,
			who == "learner" && p.learner,
			who == "busy" && busy[m.name()]:
			return m
		}
	}
	return nil
}

// edit changes the spec: nodes, members, quota, version, gateways, domain, replace-after.
func (w *World) edit(words []string) error {
	spec := w.shelf.spec
	for _, word := range words {
		k, v, _ := strings.Cut(word, "=")
		switch k {
		case "nodes":
			spec.Nodes = nil
			for name := range strings.SplitSeq(v, ",") {
				n, worker := strings.CutSuffix(name, "/worker")
				m := w.machines[cluster.NodeName(n)]
				if m == nil {
					return fmt.Errorf("no machine is called %q", n)
				}
				node := m.node
				node.ControlPlane = !worker
				spec.Nodes = append(spec.Nodes, node)
			}
		case "members", "quota":
			n, err := strconv.Atoi(v)
			if err != nil {
				return err
			}
			if spec.Etcd.Members = n; k == "quota" {
				spec.Etcd.Members = w.shelf.spec.Etcd.Members
				spec.Etcd.Quota = units.Size(n) << 30
			}
		case "heartbeat": // 0 is one that etcd does not start with
			spec.Etcd.ExtraArgs = map[string]string{badFlag: v}
		case "gateways":
			w.wantGateways(&spec, v)
		case "version":
			spec.Etcd.Version = v
		case "domain":
			spec.ClusterDomain = v
		case "replace-after":
			d, err := time.ParseDuration(v)
			if err != nil {
				return err
			}
			spec.Etcd.ReplaceAfter = units.Duration(d)
		default:
			return fmt.Errorf("a spec has no %q", k)
		}
	}
	if err := w.setSpec(spec); err != nil {
		w.logf("    refused: %s", err) // a person is told, and nothing changes
	}
	return nil
}

// Words are all events that take no argument, and those that take a machine.
func Words() (plain, machines []string) {
	return slices.Sorted(maps.Keys(onWorld())), slices.Sorted(maps.Keys(onMachine()))
}
