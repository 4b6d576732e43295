package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

// members are the words about who is or was a member.
func (w *world) members(word string, args []string) (known bool, err error) {
	switch word {
	case "before":
		return true, w.before(args)
	case "drain":
		return true, w.drain(cluster.NodeName(args[0]), args[1:])
	case "reboot":
		return true, w.reboot(args)
	case "quorum":
		d, err := time.ParseDuration(args[0])
		w.st.Etcd.QuorumSince = w.now.Add(-d)
		return true, err
	case "boot":
		w.edit(args[0], func(ns *cluster.NodeState) { ns.Boot = args[1] })
		return true, nil
	case "ownboot":
		w.st.OwnBoot = args[0]
		return true, nil
	case "setback":
		return true, w.setback(cluster.NodeName(args[0]), args[1:])
	case "behind": // for so long a learner has come no nearer
		d, err := time.ParseDuration(args[1])
		for i, m := range w.st.Etcd.Members {
			if m.Name == args[0] {
				w.st.Etcd.Members[i].BehindSince = w.now.Add(-d)
			}
		}
		return true, err
	case "partakes": // though it does not answer
		if args[1] == "unknown" {
			w.edit(args[0], func(ns *cluster.NodeState) { ns.PartUnknown = true })
			return true, nil
		}
		d, err := time.ParseDuration(args[1])
		w.edit(args[0], func(ns *cluster.NodeState) { ns.TookPart = w.now.Add(-d) })
		return true, err
	case "ran": // since when, and when it ended before that
		return true, w.ran(cluster.NodeName(args[0]), args[1:])
	case "running": // and was not seen to end before
		d, err := time.ParseDuration(args[1])
		w.edit(args[0], func(ns *cluster.NodeState) { ns.RunsSince = w.now.Add(-d) })
		return true, err
	case "grew": // so long ago, to so many bytes
		d, err := time.ParseDuration(args[1])
		w.edit(args[0], func(ns *cluster.NodeState) {
			ns.GrewAt = w.now.Add(-d)
			for i := range ns.Data {
				_, err = fmt.Sscan(args[2], &ns.Data[i].Bytes)
			}
		})
		return true, err
	case "again": // how often its process was
		w.edit(args[0], func(ns *cluster.NodeState) { _, err = fmt.Sscan(args[1], &ns.Unit.Restarts) })
		return true, err
	case "before-that": // so many of its ends were there when it had last served for long
		w.edit(args[0], func(ns *cluster.NodeState) { _, err = fmt.Sscan(args[1], &ns.EndsBefore) })
		return true, err
	case "logged": // what its process says on its host
		w.edit(args[0], func(ns *cluster.NodeState) { _, err = fmt.Sscan(args[1], &ns.Unit.Logged) })
		return true, err
	case "applied": // so too
		w.edit(args[0], func(ns *cluster.NodeState) { _, err = fmt.Sscan(args[1], &ns.Unit.Applied) })
		return true, err
	default:
		return false, nil
	}
}

func (w *world) drain(name cluster.NodeName, args []string) error {
	d := cluster.Drain{Node: name, By: "ada", Why: "a new fan", At: w.now.Add(-time.Hour)}
	for i, a := range args {
		switch a {
		case "over":
			ago, err := time.ParseDuration(args[i+1])
			if err != nil {
				return err
			}
			d.Ended = w.now.Add(-ago)
		case "interrupt":
			d.Interrupt = true
		case "reboot":
			d.Reboot = true
		}
	}
	w.st.Drains = append(w.st.Drains, d)
	return nil
}

func (w *world) reboot(args []string) error {
	r := &cluster.Reboot{By: "ada", Why: "new kernel", At: w.now.Add(-time.Minute)}
	w.st.Reboot = r
	into := &r.Nodes
	for i, a := range args {
		switch {
		case a == "done":
			into = &r.Done
		case a == "told":
			ago, err := time.ParseDuration(args[i+1])
			r.Boot, r.Told = "b1", w.now.Add(-ago)
			if err != nil || i+2 == len(args) {
				return err
			}
			if args[i+2] == "before" { // by a cke that leads no more
				w.st.Epoch = 1
				return nil
			}
			ago, err = time.ParseDuration(args[i+2]) // and first so long ago
			r.First = w.now.Add(-ago)
			return err
		default:
			*into = append(*into, cluster.NodeName(a))
		}
	}
	return nil
}

func (w *world) setback(name cluster.NodeName, args []string) error {
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	b := cluster.Setback{Last: w.now.Add(-d)}
	if _, err := fmt.Sscan(args[0], &b.Learners); err != nil {
		return err
	}
	if w.st.Setbacks == nil {
		w.st.Setbacks = cluster.Setbacks{}
	}
	w.st.Setbacks[name] = b
	return nil
}

func (w *world) ran(name cluster.NodeName, args []string) error {
	var ago [2]time.Duration
	for i := range ago {
		var err error
		if ago[i], err = time.ParseDuration(args[i]); err != nil {
			return err
		}
	}
	w.edit(string(name), func(ns *cluster.NodeState) {
		ns.RunsSince, ns.EndedAt = w.now.Add(-ago[0]), w.now.Add(-ago[1])
	})
	return nil
}

// before is the line of that name: how far the log had come a while ago.
func (w *world) before(args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	w.st.Etcd.Before = &cluster.Front{At: w.now.Add(-d), Term: 2}
	if len(args) > 2 {
		w.st.Etcd.Before.Term--
	}
	_, err = fmt.Sscan(args[1], &w.st.Etcd.Before.Index)
	return err
}
