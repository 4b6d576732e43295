package cli

import (
	"fmt"
	"slices"
	"strings"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/units"
)

// quotaText is one line on the fullest member.
func quotaText(u *plan.QuotaUse) string {
	if u == nil || u.Quota <= 0 {
		return ""
	}
	share := func(n int64) int64 { return n * 100 / u.Quota }
	return wrap(fmt.Sprintf("quota: %d%% of %s in use, %d%% taken on %s%s",
		share(u.InUse), units.Size(u.Quota), share(u.Bytes), u.Node, plan.Forecast(*u)), "", "  ")
}

// alarmsText names each kind once.
func alarmsText(all []cluster.Alarm) string {
	var kinds []string
	for _, a := range all {
		kinds = append(kinds, a.Kind)
	}
	slices.Sort(kinds)
	return strings.Join(slices.Compact(kinds), " and ")
}
