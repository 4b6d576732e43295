package plan

import (
	"fmt"
	"slices"
	"strings"

	"cke/internal/cluster"
)

// Corruption is what the hashes of the members' data say.
type Corruption struct {
	// Clear: a quorum of the voters hold the same data.
	Clear bool
	// Bad are the voters whose data is another.
	Bad []cluster.MemberID
	// Silent are those of whose data nothing is known.
	Silent []cluster.MemberID
}

// Judge compares. What a quorum of all voters holds is what was acknowledged; a
// voter that holds something else is corrupt, and so is one that etcd itself found
// to be, by an alarm or by refusing to start, unless its hash says otherwise.
func Judge(e cluster.EtcdState, hashes []cluster.MemberHash, refusing []cluster.MemberID) Corruption {
	var c Corruption
	var refuse []cluster.MemberID
	right, votes := majority(hashes)
	c.Clear = votes >= cluster.Quorum(len(e.Voters()))
	if !c.Clear {
		return c
	}
	for _, m := range e.Voters() {
		i := slices.IndexFunc(hashes, func(h cluster.MemberHash) bool { return h.Member == m.ID })
		switch {
		case i >= 0 && right.Comparable(hashes[i]):
			if hashes[i].Hash != right.Hash {
				c.Bad = append(c.Bad, m.ID)
			}
		case slices.Contains(e.Alarms, cluster.Alarm{Member: m.ID, Kind: cluster.AlarmCorrupt}):
			c.Bad = append(c.Bad, m.ID)
		case slices.Contains(refusing, m.ID):
			refuse = append(refuse, m.ID)
		default:
			c.Silent = append(c.Silent, m.ID)
		}
	}
	return c.withRefusing(refuse)
}

// majority is the hash that most agree on, and how many do.
func majority(hashes []cluster.MemberHash) (right cluster.MemberHash, votes int) {
	for _, h := range hashes {
		n := 0
		for _, o := range hashes {
			if h.Comparable(o) && h.Hash == o.Hash && h.Revision > 0 {
				n++
			}
		}
		if n > votes {
			right, votes = h, n
		}
	}
	return right, votes
}

// ruleCorrupt takes out the voter whose data is not that of the others, as one that
// has lost its data; ruleMembership rebuilds it as a learner. With an alarm CORRUPT
// etcd refuses writes until none is left that holds something else.
func ruleCorrupt(in input) verdict {
	if !in.st.Suspicious() {
		return verdict{}
	}
	e := in.st.Etcd
	c := Judge(e, e.Hashes, in.refusing())
	switch {
	case !c.Clear:
		return verdict{hold: true, reasons: []Reason{in.unclear(in.st.Refusing())}}
	case len(c.Bad) > 0:
		v := in.takeOutCorrupt(c.Bad)
		v.hold = true
		return v
	case !e.Alarmed(cluster.AlarmCorrupt):
		return in.triedAgain()
	case len(c.Silent) > 0 && slices.ContainsFunc(e.Alarms, func(a cluster.Alarm) bool { return a.Kind == cluster.AlarmCorrupt && a.Member == 0 }):
		m, _ := e.Member(c.Silent[0])
		return verdict{hold: true, reasons: []Reason{{
			Level: Blocked, Rule: "hashIsNotKnown", Node: in.name(m),
			Text: fmt.Sprintf("alarm CORRUPT, writes are refused: the others hold the same data, and of member %s it is not known: %s", m.ID, hashText(e.Hashes, m.ID)),
			Hint: "bring it back, or take its node out of cluster.yml",
		}}}
	}
	return verdict{steps: []Step{{
		Kind: DisarmAlarm, Alarm: cluster.AlarmCorrupt,
		Reason: "every voter that can be asked holds the same data",
	}}}
}

// takeOutCorrupt: none is taken out on the word of a moment ago, so the step
// compares once more.
func (in input) takeOutCorrupt(bad []cluster.MemberID) verdict {
	e := in.st.Etcd
	var ms []cluster.Member
	for _, id := range bad {
		m, _ := e.Member(id)
		ms = append(ms, m)
	}
	m := deadFirst(ms)
	v := takeOut(in, m, fmt.Sprintf("member on %s holds other data than the others (%s); it is rebuilt from them", in.name(m), in.differs(m)))
	for i := range v.steps {
		v.steps[i].Corrupt = v.steps[i].Kind == RemoveMember
	}
	return v
}

// isCorrupt says whether a member is to be taken out for its data, and so not to be
// started any more.
func (in input) isCorrupt(id cluster.MemberID) bool {
	return in.st.Etcd.Quorum && in.st.Suspicious() && slices.Contains(Judge(in.st.Etcd, in.st.Etcd.Hashes, in.refusing()).Bad, id)
}

func (in input) differs(m cluster.Member) string {
	h := hashText(in.st.Etcd.Hashes, m.ID)
	right, _ := majority(in.st.Etcd.Hashes)
	if slices.Contains(in.st.Refusing(), m.ID) {
		return "it found so itself and does not start"
	}
	return fmt.Sprintf("%s, the others %08x at revision %d", h, right.Hash, right.Revision)
}

func hashText(all []cluster.MemberHash, id cluster.MemberID) string {
	for _, h := range all {
		switch {
		case h.Member != id:
		case h.Err != "":
			return h.Err
		case h.Revision > 0:
			return fmt.Sprintf("hash %08x at revision %d, compacted at %d", h.Hash, h.Revision, h.Compacted)
		}
	}
	return "it has not said"
}

func (in input) unclear(refusing []cluster.MemberID) Reason {
	e := in.st.Etcd
	if len(e.Hashes) == 0 {
		return Reason{Level: Waiting, Rule: "hashesAreCompared", Text: "some member's data may be corrupt; the members' data is being compared"}
	}
	var said []string
	for _, m := range e.Voters() {
		text := hashText(e.Hashes, m.ID)
		if slices.Contains(refusing, m.ID) {
			text = "does not start, as its data is not that of its peers"
		}
		said = append(said, fmt.Sprintf("%s: %s", in.name(m), text))
	}
	return Reason{
		Level: Blocked, Rule: "corruptionIsNotClear",
		Text: fmt.Sprintf("members hold different data, and no %d of %d voters hold the same: %s", cluster.Quorum(len(e.Voters())), len(e.Voters()), strings.Join(said, "; ")),
		Hint: "take a backup of each member that serves now; see docs/etcd.md, Members that hold different data",
	}
}
