package plan

import (
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
		case "mended":
			r.To.Quota++
		}
	}
	w.st.Restart = r
	return err
}
