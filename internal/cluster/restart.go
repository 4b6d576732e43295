package cluster

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Restart is the record of a member that is restarted with other settings. It is
// written before the member gets its new unit and dropped when it serves again, so that
// whoever finds it down knows what it last worked with.
type Restart struct {
	Node   NodeName `json:"node"`
	Member MemberID `json:"member"`
	// From is what it worked with, To what it is to work with.
	From Unit      `json:"from"`
	To   Unit      `json:"to"`
	At   time.Time `json:"at"`
	// Down: it did not serve before either. The new settings are not to blame when
	// it does not serve with them.
	Down bool `json:"down,omitempty"`
	// Failed is why it was rolled back; empty while it was not. Such settings are
	// not tried again until the spec changes.
	Failed string `json:"failed,omitempty"`
}

// SameSettings says whether two units run etcd alike, whichever member's they
// are and however it entered the cluster.
func (u Unit) SameSettings(v Unit) bool { return u.settings().Equal(v.settings()) }

func (u Unit) settings() Unit {
	s := Unit{Version: u.Version, Quota: u.Quota, Retention: u.Retention, ExtraArgs: u.ExtraArgs, ExtraEnv: u.ExtraEnv}
	if s.Retention == 0 {
		s.Retention = DefaultRetention
	}
	return s
}

// Changes says, a phrase for each, in what the settings of v differ. Values of
// variables are not told.
func (u Unit) Changes(v Unit) string {
	var what []string
	from, to := u.settings(), v.settings()
	if from.Version != to.Version {
		what = append(what, "etcd "+from.Version+" to "+to.Version)
	}
	if from.Quota != to.Quota {
		what = append(what, "quota "+from.Quota.String()+" to "+to.Quota.String())
	}
	if from.Retention != to.Retention {
		what = append(what, "compaction_retention "+from.Retention.String()+" to "+to.Retention.String())
	}
	what = append(what, changedKeys("flag --", from.ExtraArgs, to.ExtraArgs)...)
	what = append(what, changedKeys("variable ", from.ExtraEnv, to.ExtraEnv)...)
	return strings.Join(what, ", ")
}

func changedKeys(kind string, from, to map[string]string) []string {
	all := maps.Clone(from)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, to)
	var what []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		a, was := from[k]
		if b, is := to[k]; was != is || a != b {
			what = append(what, kind+k)
		}
	}
	return what
}

// WithSettings is the spec with the settings that a unit has.
func (e Etcd) WithSettings(u Unit) Etcd {
	s := u.settings()
	e.Version, e.Quota, e.CompactionRetention = s.Version, s.Quota, s.Retention
	e.ExtraArgs, e.ExtraEnv = s.ExtraArgs, s.ExtraEnv
	return e
}
