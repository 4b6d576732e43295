package plan

import (
	"strings"
	"time"

	"cke/internal/cluster"
)

// restart records that a node's member is being restarted: from a unit with
// another quota to the wanted one.
func (w *world) restart(args []string) error {
	n := w.find(cluster.NodeName(args[0]))
	ago, err := time.ParseDuration(args[1])
	to := wantedUnit(w.spec, n, idOf(n))
	from := to
	from.Quota--
	r := &cluster.Restart{Node: n.Hostname, Member: to.Member, From: from, To: to, At: w.now.Add(-ago)}
	for _, a := range args[2:] {
		switch a {
		case "failed":
			r.Failed = "it keeps ending: exit status 1"
		case "down":
			r.Down = true
		case "older":
			r.From.Version = "3.6.16"
		case "mended":
			r.To.Quota++
		case "undone":
			r.From, r.To = r.To, r.From
		}
	}
	w.st.Restart = r
	return err
}

// version says which etcd is wanted and which there is.
func (w *world) version(word string, args []string) error {
	switch word {
	case "version":
		w.spec.Etcd.Version = args[0]
		for name := range w.st.Nodes {
			w.edit(string(name), func(ns *cluster.NodeState) { ns.Versions = append(ns.Versions, args[0]) })
		}
	case "runs":
		for i, m := range w.st.Etcd.Members {
			if m.Name == args[0] {
				w.st.Etcd.Members[i].Version, w.st.Etcd.Members[i].Storage = args[1], args[2]
			}
		}
		w.edit(args[0], func(ns *cluster.NodeState) {
			ns.Unit.Unit.Version = args[1]
			ns.Unit.Started = &ns.Unit.Unit
		})
	case "downgrade":
		w.st.Etcd.Downgrade = args[0]
	default:
		ago, err := time.ParseDuration(args[1])
		w.st.Snapshot = &cluster.Snapshot{To: args[0], At: w.now.Add(-ago)}
		for _, arg := range args[2:] {
			if from, ok := strings.CutPrefix(arg, "from="); ok {
				w.st.Snapshot.From = from
			} else {
				w.st.Snapshot.Host, w.st.SnapshotAway = arg, true
			}
		}
		return err
	}
	return nil
}
