package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

const (
	// stallRate is how fast a member copies what is in use when it is defragmented,
	// in bytes a second; stallLeast is what it takes with nothing to copy. Measured
	// with etcd 3.7.3: 500 MiB in 15 to 16 s on two cores and a disk that much else
	// was using (31 to 35 MiB/s, with values of 1 KiB as of 256 KiB), 28 MiB in 0.1 s
	// with little else going on. A read waited all that time.
	stallRate  = 50 << 20
	stallLeast = 100 * time.Millisecond
	// nearlyFull is the part of its quota that a member must be below before an
	// alarm is disarmed: with less room it would be raised again soon.
	nearlyFull = 0.9
)

// Stall is for how long a member is expected to answer nobody while it is
// defragmented: it copies what is in use.
func Stall(e cluster.EtcdState, m cluster.Member) time.Duration {
	return stallLeast + time.Duration(float64(m.DBSize-Free(e, m))/stallRate*float64(time.Second))
}

// interrupts says whether stopping one voter for a while stops the cluster.
func (in input) interrupts(m cluster.Member) bool {
	return !m.Learner && len(in.st.Etcd.Voters()) <= 2
}

// defragment gives one of these members' free pages back: followers first, the
// leader last and only after leadership has moved to one that is not among them.
// All the others serve meanwhile.
func defragment(in input, all []cluster.Member, because func(cluster.Member) string) verdict {
	var fit []cluster.Member
	var lacking []Reason
	for _, m := range all {
		if r, ok := in.lacksRoom(m); ok {
			lacking = append(lacking, r)
			continue
		}
		fit = append(fit, m)
	}
	if len(fit) == 0 {
		return verdict{reasons: lacking}
	}
	v := in.defragmentOne(fit, all, because)
	v.reasons = append(v.reasons, lacking...)
	return v
}

func (in input) defragmentOne(fit, all []cluster.Member, because func(cluster.Member) string) verdict {
	m := leaderLast(fit)
	reason := because(m)
	if ill := in.otherVoterIll(m); ill != "" {
		return verdict{reasons: []Reason{{
			Level: Blocked, Rule: "defragmentationWaits", Node: in.name(m),
			Text: fmt.Sprintf("%s, and it answers nobody while it is defragmented: that waits until every other voter serves, and %s does not", reason, ill),
			Hint: "bring the other members back first",
		}}}
	}
	v, why, ready := in.takesLeave(parting{
		member: m, why: reason, does: "is defragmented", alone: m.Learner || len(in.st.Etcd.Voters()) == 1,
		heir: func() (cluster.Member, bool) { return successor(in, m, all...) },
	})
	if ready {
		v.steps = []Step{defragStep(in, m, why)}
	}
	return v
}

func (in input) otherVoterIll(m cluster.Member) cluster.NodeName {
	for _, o := range in.st.Etcd.Voters() {
		if o.ID != m.ID && !o.Healthy && !m.Learner {
			return in.name(o)
		}
	}
	return ""
}

func defragStep(in input, m cluster.Member, why string) Step {
	voters, healthy := len(in.st.Etcd.Voters()), len(in.st.Etcd.HealthyVoters())
	t := cluster.Tolerance(voters, healthy)
	s := Step{
		Kind: Defragment, Nodes: []cluster.NodeName{in.name(m)}, Member: m.ID, Interrupts: in.interrupts(m),
		Reason:    fmt.Sprintf("%s; it answers nobody for about %s meanwhile", why, short(Stall(in.st.Etcd, m))),
		Tolerance: &Tolerance{Before: t, During: t, After: t},
	}
	if !m.Learner {
		s.Tolerance.During--
	}
	if s.Interrupts {
		s.Reason += ", and the cluster stands still"
	}
	return s
}

// quota is what a member's process has; one that does not say runs with what is
// wanted.
func (in input) quota(m cluster.Member) int64 {
	if m.Quota > 0 {
		return m.Quota
	}
	return int64(in.spec.Etcd.Quota)
}

// reaches says whether so many bytes are near the member's quota.
func (in input) reaches(m cluster.Member, bytes int64) bool {
	return float64(bytes) >= nearlyFull*float64(in.quota(m))
}

// full says whether the member's database is near its quota: etcd compares the
// file, free pages included.
func (in input) full(m cluster.Member) bool { return in.reaches(m, m.DBSize) }

// Free is what defragmenting a member would give back. All members hold the same
// data, and one that has nothing to write does not notice that compacted history
// has left its database: what the least of them uses is enough for each.
func Free(e cluster.EtcdState, m cluster.Member) int64 {
	least := m.DBSizeInUse
	for _, o := range e.HealthyVoters() {
		if o.DBSizeInUse > 0 {
			least = min(least, o.DBSizeInUse)
		}
	}
	return max(0, m.DBSize-least)
}
