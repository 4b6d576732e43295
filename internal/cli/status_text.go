package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/units"
)

const (
	textWidth = 80
	// stale is when the age of what is shown begins to matter.
	stale = 15 * time.Second
)

// statusText is a status for people: the verdict first, then each node, then
// what will be done and what is held back.
func statusText(st api.Status, now time.Time) string {
	var b strings.Builder
	b.WriteString(wrap(headline(st), "", "  "))
	if p := st.Paused; p != nil {
		why := ""
		if p.Why != "" {
			why = ": " + cluster.InLine(p.Why)
		}
		b.WriteString(wrap(fmt.Sprintf("PAUSED by %s since %s%s", p.By, p.At.UTC().Format(time.RFC3339), why), "", "  "))
		b.WriteString("    hint: ckecli resume\n")
	}
	if age := now.Sub(st.ObservedAt); !st.ObservedAt.IsZero() && age > stale {
		fmt.Fprintf(&b, "seen %s ago\n", units.Duration(age.Round(time.Second)))
	}
	b.WriteString("\n" + membersText(st, now))
	b.WriteString(troublesText(st.Nodes, st.Plan))
	b.WriteString(quotaText(st.Quota))
	b.WriteString(snapshotText(st.Snapshot))
	b.WriteString(gatewaysText(st.Nodes))
	b.WriteString(kubernetesText(st.Kubernetes))
	b.WriteString(runningText(st.Running))
	b.WriteString(progressText(st.Progress))
	b.WriteString(planText(st.Plan))
	return b.String()
}

func headline(st api.Status) string {
	members := slices.Clone(st.Strangers)
	for _, n := range st.Nodes {
		if n.Member != nil {
			members = append(members, *n.Member)
		}
	}
	voters, serving := 0, 0
	for _, m := range members {
		if m.Learner {
			continue
		}
		voters++
		if m.Healthy {
			serving++
		}
	}
	counts := fmt.Sprintf("%d of %d voters serve", serving, voters)
	name := "cluster " + st.Cluster
	switch {
	case st.Phase == cluster.PhaseNew:
		return name + " is not bootstrapped yet"
	case st.Phase == cluster.PhaseBootstrapping:
		if voters == 0 {
			return name + " is being bootstrapped"
		}
		return name + " is being bootstrapped: " + counts
	case slices.ContainsFunc(st.Plan.Reasons, func(r plan.Reason) bool { return r.Rule == "clustersAreMixed" }):
		return name + " is NOT healthy: several clusters answer in its place"
	case !st.Quorum && voters == 0:
		return name + " is DOWN: no member can tell of it"
	case !st.Quorum || st.Tolerance < 0:
		return fmt.Sprintf("%s is DOWN: quorum is lost, %s", name, counts)
	case !st.AuthOn:
		return fmt.Sprintf("%s is NOT healthy: authentication is off, %s", name, counts)
	case len(st.Alarms) > 0:
		return fmt.Sprintf("%s is NOT healthy: alarm %s, %s", name, alarmsText(st.Alarms), counts)
	case !st.Healthy:
		return fmt.Sprintf("%s is NOT healthy: %s, %s", name, counts, mayFail(st.Tolerance))
	case !st.Settled:
		return fmt.Sprintf("%s is healthy, with more to do: %s, %s", name, counts, mayFail(st.Tolerance))
	default:
		return fmt.Sprintf("%s is healthy: %s, %s", name, counts, mayFail(st.Tolerance))
	}
}

func mayFail(n int) string {
	if n == 0 {
		return "none may fail"
	}
	return fmt.Sprintf("%d more may fail", n)
}

func membersText(st api.Status, now time.Time) string {
	nodes, strangers := st.Nodes, st.Strangers
	if len(nodes) == 0 && len(strangers) == 0 {
		return "no nodes\n"
	}
	told := len(strangers) > 0 || slices.ContainsFunc(nodes, func(n api.NodeStatus) bool { return n.Member != nil })
	rows := [][]string{{"NODE", "ADDRESS", "MEMBER", "ROLE", "HEALTH", "VERSION", "DB", "INDEX"}}
	for _, n := range nodes {
		row := []string{string(n.Hostname), n.Address}
		if m := n.Member; m != nil {
			row = append(row, memberCells(*m, now)...)
		} else {
			row = append(row, "-", spareText(n, told), nodeHealth(n), "", "", "") // in line with the others
		}
		if isDrained(st, n) {
			row[4] = "drained"
		}
		rows = append(rows, row)
	}
	for _, m := range strangers {
		rows = append(rows, append([]string{"unknown", m.PeerURL}, memberCells(m, now)...))
	}
	return table(rows)
}

// isDrained: its member is stopped because a person wants it to be.
func isDrained(st api.Status, n api.NodeStatus) bool {
	return (n.Member == nil || !n.Member.Healthy) &&
		slices.ContainsFunc(st.Drains, func(d cluster.Drain) bool { return d.Node == n.Hostname && !d.Over() })
}

// memberCells has no numbers of a member that did not answer: zero is none.
func memberCells(m cluster.Member, now time.Time) []string {
	health, size, index := healthText(m), "-", "-"
	if t := m.UnhealthySince; !m.Healthy && !t.IsZero() && now.After(t) {
		health += " " + units.Duration(now.Sub(t).Round(time.Second)).String()
	}
	if m.RaftIndex > 0 {
		size, index = bytesText(m.DBSize), strconv.FormatUint(m.RaftIndex, 10)
	}
	return []string{m.ID.String(), roleText(m), health, orDash(m.Version), size, index}
}

// spareText is what a node without a member is; who the members are is not always
// told.
func spareText(n api.NodeStatus, told bool) string {
	switch {
	case n.Leaving:
		return "leaving"
	case n.ControlPlane && !told:
		return "-"
	case n.ControlPlane:
		return "spare"
	default:
		return "worker"
	}
}

func nodeHealth(n api.NodeStatus) string {
	if n.Reachable {
		return "ok"
	}
	return unreached(n.Trouble)
}

// troublesText says of each node what does not fit into a table, and not below
// in the plan.
func troublesText(nodes []api.NodeStatus, p plan.Plan) string {
	var b strings.Builder
	for _, n := range nodes {
		add := func(text string) {
			b.WriteString(wrap(text, string(n.Hostname)+": ", "  "))
		}
		told := func(r plan.Reason) bool { return r.Node == n.Hostname && strings.Contains(r.Text, n.Error) }
		if n.Error != "" && !slices.ContainsFunc(p.Reasons, told) {
			add(n.Error)
		}
		if n.Member == nil {
			continue
		}
		if n.Leaving {
			add("leaving, its member is still in")
		}
		if n.Member.Err != "" {
			add(n.Member.Err)
		}
		if len(n.Member.Alarms) > 0 {
			add("alarm " + strings.Join(n.Member.Alarms, ", "))
		}
	}
	return b.String()
}

// runningText says what is being done.
func runningText(steps []plan.Step) string {
	var b strings.Builder
	if len(steps) > 0 {
		b.WriteString("\nnow\n")
	}
	for _, s := range steps {
		b.WriteString(wrap(s.String(), "- ", "  "))
	}
	return b.String()
}

func planText(p plan.Plan) string {
	var b strings.Builder
	if len(p.Steps) > 0 {
		b.WriteString("\nnext\n")
	}
	for i, step := range p.Steps {
		b.WriteString(wrap(step.String(), fmt.Sprintf("%d. ", i+1), "   "))
	}
	for _, level := range []plan.Level{plan.Blocked, plan.Waiting, plan.Note} {
		title := "\n" + string(level) + "\n"
		for _, r := range wholeFirst(p.Reasons) {
			if r.Level != level {
				continue
			}
			b.WriteString(title)
			title = ""
			b.WriteString(reasonText(r))
		}
	}
	return b.String()
}

// wholeFirst puts what concerns the whole cluster before what concerns a node.
func wholeFirst(reasons []plan.Reason) []plan.Reason {
	out := slices.Clone(reasons)
	slices.SortStableFunc(out, func(a, b plan.Reason) int {
		switch {
		case (a.Node == "") == (b.Node == ""):
			return 0
		case a.Node == "":
			return -1
		default:
			return 1
		}
	})
	return out
}

func reasonText(r plan.Reason) string {
	text := r.Text
	if r.Node != "" {
		text = string(r.Node) + ": " + text
	}
	out := wrap(fmt.Sprintf("%s (%s)", text, r.Rule), "- ", "  ")
	if r.Hint != "" {
		out += wrap(r.Hint, "    hint: ", "    ")
	}
	return out
}
