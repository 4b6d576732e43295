package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

const (
	// compactEvery spaces compactions while clients delete what is too much.
	compactEvery = 10 * time.Second
	// freeingTakes is how long members get to free what was compacted; they drop up
	// to 100,000 revisions a second (mvcc/kvstore_compaction.go: 1000 each 10 ms).
	freeingTakes = 3 * time.Second
)

// ruleNoSpace heals a cluster that refuses writes because some member's database
// has reached its quota: drop the history, give the free pages back one member
// after another, and disarm once every member has room. A member that does not
// serve does not count: it takes no writes, and raises the alarm again if it must.
func ruleNoSpace(in input) verdict {
	e := in.st.Etcd
	if !e.Alarmed(cluster.AlarmNoSpace) || e.Alarmed(cluster.AlarmCorrupt) {
		return verdict{} // with CORRUPT, etcd refuses a compaction
	}
	var full []cluster.Member
	for _, m := range e.Members {
		if m.Healthy && in.full(m) {
			full = append(full, m)
		}
	}
	if len(full) == 0 {
		return verdict{steps: []Step{{
			Kind: DisarmAlarm, Alarm: cluster.AlarmNoSpace,
			Reason: fmt.Sprintf("every member that serves is below %d%% of its quota again", int(nearlyFull*100)),
		}}}
	}
	if c := e.Compaction; c == nil || c.Compacted < c.Revision && in.now.Sub(c.Since) >= compactEvery {
		return compact(in, full)
	}
	var helped []cluster.Member
	for _, m := range full {
		if in.defragHelps(m) {
			helped = append(helped, m)
		}
	}
	if r, ok := in.freeing(helped); ok {
		return verdict{reasons: []Reason{r}}
	}
	if len(helped) > 0 {
		return defragment(in, helped, func(m cluster.Member) string {
			return fmt.Sprintf("alarm NOSPACE: the database on %s has %s of its quota of %s and needs %s",
				in.name(m), roundSize(m.DBSize), units.Size(in.quota(m)), roundSize(m.DBSize-Free(e, m)))
		})
	}
	return tooMuchData(in, full)
}

func compact(in input, full []cluster.Member) verdict {
	if in.st.Etcd.Compaction == nil {
		return verdict{reasons: []Reason{{
			Level: Waiting, Rule: "historyIsNotKnown", Node: in.name(full[0]),
			Text: "alarm NOSPACE, and it could not be learnt how much history is kept: " + in.st.Etcd.Err,
		}}}
	}
	return verdict{steps: []Step{{
		Kind: Compact, Revision: in.st.Etcd.Compaction.Revision,
		Reason: fmt.Sprintf("alarm NOSPACE: %s reached its quota of %s, and history is what can be done without",
			in.name(full[0]), units.Size(in.quota(full[0]))),
	}}}
}

// defragHelps: the data fits, and there is something to give back.
func (in input) defragHelps(m cluster.Member) bool {
	free := Free(in.st.Etcd, m)
	return !in.reaches(m, m.DBSize-free) && free*20 >= m.DBSize
}

// freeing: members drop compacted history each at its own pace, and tell of it
// only with the next write. To be defragmented too early is in vain, so they get
// a moment.
func (in input) freeing(all []cluster.Member) (Reason, bool) {
	c := in.st.Etcd.Compaction
	for _, m := range all {
		if in.reaches(m, m.DBSizeInUse) && in.now.Sub(c.Since) < freeingTakes {
			return Reason{
				Level: Waiting, Rule: "compactedSpaceIsBeingFreed", Node: in.name(m),
				Text: "alarm NOSPACE: the history is dropped, and the member may be about to free its room still",
			}, true
		}
	}
	return Reason{}, false
}

// tooMuchData says that what is there does not fit.
func tooMuchData(in input, full []cluster.Member) verdict {
	m := full[0]
	r := Reason{Node: in.name(m)}
	data := m.DBSize - Free(in.st.Etcd, m)
	switch {
	case slices.ContainsFunc(full, func(m cluster.Member) bool { return int64(in.spec.Etcd.Quota) > in.quota(m) }):
		r.Level, r.Rule = Waiting, "quotaAwaitsRestart"
		r.Text = fmt.Sprintf("the member runs with a quota of %s; %s takes effect when it next starts", units.Size(in.quota(m)), in.spec.Etcd.Quota)
	default:
		r.Level, r.Rule, r.Node = Blocked, "liveDataExceedsQuota", ""
		r.Text = fmt.Sprintf("alarm NOSPACE, writes are refused: without any history the data is %s, and the quota is %s%s",
			roundSize(data), units.Size(in.quota(m)), largest(in.st.Etcd.Usage))
		r.Hint = fmt.Sprintf("delete what is not needed, or set etcd.quota in cluster.yml to %s or more; both heal by themselves", quotaFor(data))
	}
	return verdict{reasons: []Reason{r}}
}

// largest names where most of the data is.
func largest(all []cluster.PrefixUsage) string {
	const most = 5
	var said []string
	for _, u := range all[:min(most, len(all))] {
		name := u.Prefix
		if name == "" {
			name = "keys of no user"
		}
		said = append(said, fmt.Sprintf("%s about %s in %d keys", name, roundSize(u.Bytes), u.Keys))
	}
	if len(said) == 0 {
		return ""
	}
	return "; the most is under " + strings.Join(said, ", ")
}

// quotaFor is a quota with which so much data is two thirds, a round number.
func quotaFor(data int64) units.Size {
	unit := int64(64 << 20)
	if data >= 1<<30 {
		unit = 1 << 30
	}
	return units.Size((data*3/2 + unit - 1) / unit * unit)
}
