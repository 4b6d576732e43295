package plan

import (
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
)

const (
	// snapshotHolds is how old a snapshot may be when the first member changes its
	// version.
	snapshotHolds = 10 * time.Minute
	// changeHolds is how old it may be while the others follow: one that went on for
	// longer is better off with another.
	changeHolds = 24 * time.Hour
)

// ruleVersion prepares a change of etcd's version, before ruleRolling brings it to
// the members: the way is one that etcd goes, there is a snapshot, and for a way
// down etcd itself is ready. It takes back a downgrade that nobody wants any more.
func ruleVersion(in input) verdict {
	e := in.st.Etcd
	target := in.spec.Etcd.Version
	if e.Downgrade != "" && cluster.MinorOf(e.Downgrade) != cluster.MinorOf(target) {
		return verdict{hold: true, steps: []Step{{
			Kind: CancelDowngrade, Reason: fmt.Sprintf("etcd prepares to go down to %s, and the spec says %s", e.Downgrade, target),
		}}}
	}
	missingOne, waits := in.mustJoinFirst()
	if waits && e.Downgrade != "" {
		return verdict{hold: true, steps: []Step{{
			Kind: CancelDowngrade, Reason: fmt.Sprintf("etcd takes in nobody while it prepares to go down to %s, and %s carries no voter", e.Downgrade, missingOne.Hostname),
		}}}
	}
	var v verdict
	var change *outdated
	for _, o := range in.outdatedVoters() {
		if o.from.Version == o.to.Version {
			continue
		}
		change = &o
		if why := cluster.VersionPath(o.from.Version, o.to.Version); why != "" {
			v.reasons = append(v.reasons, Reason{
				Level: Blocked, Rule: "versionPathSkips", Node: o.node.Hostname, Text: why,
				Hint: "set etcd.version in cluster.yml to that first",
			})
		}
	}
	if change == nil || len(v.reasons) > 0 {
		v.hold = len(v.reasons) > 0
		return v
	}
	for _, m := range e.Voters() {
		if !m.Healthy || !InSync(e, m) {
			return verdict{} // ruleRolling waits for it, and says so
		}
	}
	var missing verdict
	for _, o := range in.outdatedVoters() {
		if !hasVersion(in.node(o.node.Hostname), o.to.Version) {
			in.needVersion(&missing, o.node, o.to.Version)
		}
	}
	if len(missing.reasons) > 0 {
		return verdict{} // ruleRolling says what is missing; nothing is begun that cannot be finished
	}
	if !in.snapshotThere(*change) {
		return verdict{hold: true, steps: []Step{{
			Kind: TakeSnapshot, Reason: fmt.Sprintf("etcd %s becomes %s; a snapshot first%s", change.from.Version, target, in.snapshotLies(target)),
			Snapshot: &cluster.Snapshot{From: change.from.Version, To: target},
		}}}
	}
	if len(missing.steps) > 0 {
		return verdict{} // etcd goes down once every host has what it goes down to
	}
	return in.wayDown()
}

// snapshotThere: one was taken for this change a short while ago, or before it began.
// That some member runs the version says nothing by itself: within one line a new
// member gets it before the others. One that another cke took lies on that one's
// machine, which may be gone: this cke takes its own before it goes on.
func (in input) snapshotThere(change outdated) bool {
	s, from, to := in.st.Snapshot, change.from.Version, change.to.Version
	if s == nil || s.To == to && in.st.SnapshotAway {
		return false
	}
	age := in.now.Sub(s.At)
	begun := slices.ContainsFunc(in.st.Etcd.Voters(), func(m cluster.Member) bool { return m.Version == to })
	switch {
	case s.To == to && age < snapshotHolds:
		return true
	case !begun || age >= changeHolds:
		return false
	}
	return s.To == to || s.From == to && s.To == from // it goes on, or is taken back
}

// snapshotLies says where the snapshot for this change is that this cke does not have.
func (in input) snapshotLies(target string) string {
	s := in.st.Snapshot
	if s == nil || s.To != target || !in.st.SnapshotAway {
		return ""
	}
	return fmt.Sprintf("; that of %s is on %s, not here", s.At.UTC().Format(time.RFC3339), orElse(s.Host, "another machine"))
}

// wayDown has etcd bring the cluster and its storage down to the older line before
// a member of that line starts: it would refuse the data otherwise.
func (in input) wayDown() verdict {
	e := in.st.Etcd
	target := cluster.MinorOf(in.spec.Etcd.Version)
	missing, waits := in.mustJoinFirst()
	high, above := false, true // some data, or every member, is of a newer line
	for _, m := range e.Voters() {
		high = high || target.Before(cluster.MinorOf(m.Storage))
		above = above && target.Before(cluster.MinorOf(m.Version))
	}
	switch {
	case !high && (!above || e.Downgrade != ""):
		return verdict{}
	case high && e.Downgrade == "" && waits:
		return verdict{hold: true, reasons: []Reason{{
			Level: Waiting, Rule: "etcdTakesInNobody", Node: missing.Hostname,
			Text: fmt.Sprintf("etcd prepares to go down to %s once the node carries a voter: it takes in nobody meanwhile", target),
		}}}
	case high && e.Downgrade == "":
		t := cluster.Tolerance(len(e.Voters()), len(e.HealthyVoters()))
		return verdict{hold: true, steps: []Step{{
			Kind: EnableDowngrade, Version: in.spec.Etcd.Version, Tolerance: &Tolerance{Before: t, During: t, After: t},
			Reason: fmt.Sprintf("the members' data is to be readable for etcd %s", target),
		}}}
	}
	return verdict{hold: true, reasons: []Reason{{
		Level: Waiting, Rule: "storageVersionIsChanging",
		Text: fmt.Sprintf("etcd brings the cluster's version to where it can go to %s", target),
	}}}
}

// mustJoinFirst is a wanted node whose member is to vote before etcd is asked to go down:
// it is on its way, or without it the others could not go down and serve all the while. Or
// those that are to go have gone: etcd ends it by itself then, unless one that is not wanted
// runs the newer line still.
func (in input) mustJoinFirst() (cluster.Node, bool) {
	e := in.st.Etcd
	gone := !slices.ContainsFunc(e.Voters(), func(m cluster.Member) bool {
		n, known := in.nodeOf(m)
		return known && in.isWanted(n) && (m.Version == "" || cluster.MinorOf(in.spec.Etcd.Version).Before(cluster.MinorOf(m.Version)))
	})
	for _, n := range in.wanted {
		m, ok := e.MemberAt(n)
		if ok && m.Learner || !ok && (gone || tooFew(e)) {
			return n, true
		}
	}
	return cluster.Node{}, false
}

// joinVersion is what a new member starts with: the spec's version, but what the
// others run while the cluster's is still newer, and before the first of them goes
// up to another line: that is for ruleVersion to prepare.
func (in input) joinVersion() string {
	target := in.spec.Etcd.Version
	line := cluster.MinorOf(target)
	older := ""
	for _, m := range in.st.Etcd.HealthyVoters() {
		if line.Before(cluster.MinorOf(m.Storage)) {
			return m.Version
		}
		if m.Version != "" && cluster.MinorOf(m.Version).Before(line) {
			older = m.Version
		}
	}
	for _, m := range in.st.Etcd.HealthyVoters() {
		if !cluster.MinorOf(m.Version).Before(line) {
			return target
		}
	}
	return orElse(older, target)
}
