package plan

import (
	"fmt"
	"strings"
	"time"

	"cke/internal/cluster"
)

// quorumLossPage says what a person can do when the quorum does not come back.
const quorumLossPage = "docs/quorum-loss.md"

// whichDataIsWhere tells of each node what is known of its data: a person has to
// decide by it. Nodes that never had any are left out.
func (in input) whichDataIsWhere() []Reason {
	var out []Reason
	for _, n := range in.nodes {
		ns := in.node(n.Hostname)
		var parts []string
		if text := in.dataOnHost(n, ns); text != "" {
			parts = append(parts, text)
		}
		if len(ns.Aside) > 0 {
			parts = append(parts, "set aside there: "+strings.Join(ns.Aside, ", "))
		}
		if len(parts) == 0 {
			continue
		}
		out = append(out, Reason{
			Level: Note, Rule: "whichDataIsWhere", Node: n.Hostname, Text: strings.Join(parts, "; "),
		})
	}
	if len(out) == 0 {
		out = append(out, Reason{Level: Note, Rule: "whichDataIsWhere", Text: "no host holds data of this cluster"})
	}
	return out
}

func (in input) dataOnHost(n cluster.Node, ns cluster.NodeState) string {
	h, heard := in.st.Heard[n.Hostname]
	u := ns.Unit
	switch {
	case !ns.Reachable():
		return in.dataOfSilent(n, ns)
	case u == nil && len(ns.Data) == 0:
		return ""
	case u == nil:
		return fmt.Sprintf("data of member %s without a unit, %s", ns.Data[0].Member, roughly(ns.Data[0].Bytes))
	case u.NotMounted != "":
		return fmt.Sprintf("data of member %s is on a disk that is not mounted at %s%s", u.Unit.Member, u.NotMounted, in.lastLog(h))
	case u.DataLost, !u.Sealed && !holdsLog(ns, u.Unit.Member):
		return fmt.Sprintf("data of member %s is gone from this host%s", u.Unit.Member, in.lastLog(h))
	}
	d, _ := ns.Dir(u.Unit.Member)
	what := "stopped"
	if u.Running {
		what = "runs"
	}
	text := fmt.Sprintf("member %s %s, %s", u.Unit.Member, what, roughly(d.Bytes))
	if ns.Fenced != "" {
		text += ", but the host obeys another store"
	}
	if !heard {
		return text
	}
	return text + in.lastLog(h)
}

// dataOfSilent: what is on a host that does not answer is known from before, if
// at all.
func (in input) dataOfSilent(n cluster.Node, ns cluster.NodeState) string {
	text := "does not answer"
	if t := ns.UnreachableSince; !t.IsZero() {
		text += " since " + in.clock(t)
	}
	h, heard := in.st.Heard[n.Hostname]
	if heard && h.Lost {
		return fmt.Sprintf("%s; when it last did the data of member %s was gone from it%s", text, h.Member, in.lastLog(h))
	}
	if heard {
		return fmt.Sprintf("%s; when it last did it held member %s, %s%s", text, h.Member, roughly(h.Bytes), in.lastLog(h))
	}
	if m, ok := in.st.Etcd.MemberAt(n); ok {
		return fmt.Sprintf("%s; its member is %s", text, m.ID)
	}
	for _, f := range in.st.Bootstrap.Founders {
		if f.Node.Hostname == n.Hostname {
			return fmt.Sprintf("%s; it was founded with member %s", text, f.Member)
		}
	}
	if !n.ControlPlane {
		return ""
	}
	return text + "; what it holds is not known"
}

// lastLog is how far the member's log was committed: of two members' data, that
// of the higher term is newer, and within a term that of the higher index.
func (in input) lastLog(h cluster.Heard) string {
	if h.RaftTerm == 0 {
		return ""
	}
	text := fmt.Sprintf(", log committed to index %d of term %d", h.RaftIndex, h.RaftTerm)
	if !h.AskedAt.Equal(in.st.At) {
		text += " as of " + in.clock(h.AskedAt)
	}
	return text
}

// clock is a time of day, with its date where that is not today's.
func (in input) clock(t time.Time) string {
	t = t.UTC()
	if t.Format(time.DateOnly) == in.now.UTC().Format(time.DateOnly) {
		return t.Format(time.TimeOnly + " UTC")
	}
	return t.Format(time.DateTime + " UTC")
}

func roughly(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
