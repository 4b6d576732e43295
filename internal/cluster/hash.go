package cluster

import (
	"slices"
	"strings"
)

// MemberHash is what one member says its keys and values add up to. Two can be
// compared when both were taken at one revision and of the same history.
type MemberHash struct {
	Member    MemberID `json:"member"`
	Revision  int64    `json:"revision"`
	Compacted int64    `json:"compacted"`
	Hash      uint32   `json:"hash"`
	Err       string   `json:"err,omitempty"` // nothing else is set then
}

// Comparable says whether two hashes would be equal if the data were.
func (h MemberHash) Comparable(o MemberHash) bool {
	return h.Err == "" && o.Err == "" && h.Revision == o.Revision && h.Compacted == o.Compacted
}

// Refuses says that a member ended at its start because its data is not that of
// its peers (etcd's InitialCorruptCheck, etcdserver/corrupt.go).
func (u UnitState) Refuses() bool {
	const said = "found data inconsistency with peers"
	return !u.Running && (strings.Contains(u.Log, said) || strings.Contains(u.Exit, said))
}

// Suspicious says whether there is a reason to compare the members' data.
func (s State) Suspicious() bool {
	return s.Etcd.Alarmed(AlarmCorrupt) || slices.ContainsFunc(s.Etcd.Voters(), func(m Member) bool { return s.refuses(m.ID) })
}

func (s State) refuses(id MemberID) bool {
	for _, ns := range s.Nodes {
		if u := ns.Unit; u != nil && u.Unit.Member == id && u.Refuses() {
			return true
		}
	}
	return false
}

// Refusing are the voters that refuse to start on their data.
func (s State) Refusing() []MemberID {
	var ids []MemberID
	for _, m := range s.Etcd.Voters() {
		if s.refuses(m.ID) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}
