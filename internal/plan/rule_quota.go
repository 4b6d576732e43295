package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

const (
	// muchUsed is the part of the quota from which its use is told.
	muchUsed = 0.8
	// farAhead is how far a forecast is told.
	farAhead = 7 * 24 * time.Hour
	// longestForecast bounds what is counted in; what lies beyond is never.
	longestForecast = 10 * 365 * 24 * time.Hour
)

// QuotaUse is how much of its quota the fullest member uses.
type QuotaUse struct {
	Node cluster.NodeName `json:"node"`
	// Bytes is its file, InUse what defragmenting would leave of it.
	Bytes int64 `json:"bytes"`
	InUse int64 `json:"in_use"`
	Quota int64 `json:"quota"`
	// FullIn is when the data reaches the quota as it grows now; 0 when it does
	// not, or nobody can say yet.
	FullIn units.Duration `json:"full_in,omitempty"`
}

// Quota tells it of a cluster; false when no member serves.
func Quota(spec cluster.Spec, st cluster.State) (QuotaUse, bool) {
	return newInput(spec, st, st.At).quotaUse()
}

func (in input) quotaUse() (QuotaUse, bool) {
	var most cluster.Member
	share := -1.0
	for _, m := range in.st.Etcd.HealthyVoters() {
		if s := float64(m.DBSize) / float64(in.quota(m)); s > share {
			most, share = m, s
		}
	}
	if share < 0 {
		return QuotaUse{}, false
	}
	u := QuotaUse{Node: in.name(most), Bytes: most.DBSize, InUse: most.DBSizeInUse, Quota: in.quota(most)}
	if g := in.st.Growth; g != nil && g.PerDay > 0 && u.InUse < u.Quota {
		days := float64(u.Quota-u.InUse) / g.PerDay
		if d := time.Duration(days * 24 * float64(time.Hour)); days < longestForecast.Hours()/24 {
			u.FullIn = units.Duration(d.Round(time.Minute))
		}
	}
	return u, true
}

// ruleQuota tells of a quota that is nearly used, or soon will be. What can be
// done about it by itself other rules do; more room only a person can give.
func ruleQuota(in input) verdict {
	u, ok := in.quotaUse()
	if !ok || in.st.Etcd.Alarmed(cluster.AlarmNoSpace) {
		return verdict{}
	}
	used := float64(u.InUse) / float64(u.Quota)
	r := Reason{
		Level: Note, Node: u.Node,
		Hint: fmt.Sprintf("delete what is not needed, or raise etcd.quota in cluster.yml: %s would be plenty", max(quotaFor(u.InUse), units.Size(2*u.Quota))),
	}
	switch {
	case used >= muchUsed:
		r.Rule = "quotaIsNearlyUsed"
		r.Text = fmt.Sprintf("%d%% of the quota of %s is in use%s", int(used*100), units.Size(u.Quota), Forecast(u))
	case u.FullIn > 0 && u.FullIn.Std() < farAhead:
		r.Rule = "quotaWillBeReached"
		r.Text = fmt.Sprintf("%d%% of the quota of %s is in use%s", int(used*100), units.Size(u.Quota), Forecast(u))
	default:
		return verdict{}
	}
	return verdict{reasons: []Reason{r}}
}

// Forecast says when the quota is reached as a phrase to append; empty when that
// is not known.
func Forecast(u QuotaUse) string {
	d := u.FullIn.Std()
	switch {
	case d <= 0:
		return ""
	case d < 90*time.Minute:
		return fmt.Sprintf(", full in about %d minutes", max(1, int(d.Minutes()+0.5)))
	case d < 36*time.Hour:
		return fmt.Sprintf(", full in about %d hours", int(d.Hours()+0.5))
	default:
		return fmt.Sprintf(", full in about %d days", int(d.Hours()/24+0.5))
	}
}
