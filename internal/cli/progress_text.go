package cli

import (
	"fmt"
	"strings"

	"cke/internal/cluster"
)

// barWidth is how many marks a bar of a status has.
const barWidth = 20

// progressText is a bar for each node that something long goes on at.
func progressText(list []cluster.Progress) string {
	if len(list) == 0 {
		return ""
	}
	rows := make([][]string, len(list))
	for i, p := range list {
		rows[i] = []string{
			string(p.Node), p.What, barText(p), fmt.Sprintf("%3d %%", percent(p)),
			amountText(p.Done, p.Total),
		}
	}
	return "\n" + table(rows)
}

func barText(p cluster.Progress) string {
	full := percent(p) * barWidth / 100
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "]"
}

// percent is rounded down: 100 means done.
func percent(p cluster.Progress) int {
	if p.Total <= 0 || p.Done <= 0 {
		return 0
	}
	return int(min(p.Done, p.Total) * 100 / p.Total)
}

// amountText names the unit once where both have the same.
func amountText(done, total int64) string {
	d, t := bytesText(done), bytesText(total)
	if n, unit, ok := strings.Cut(d, " "); ok && strings.HasSuffix(t, " "+unit) {
		d = n
	}
	return d + " of " + t
}

// overall is what a line says where no bar can be drawn: in quarters, so that a
// log does not fill.
func overall(list []cluster.Progress) string {
	if len(list) == 0 {
		return ""
	}
	var all cluster.Progress
	for _, p := range list {
		all.Done, all.Total = all.Done+p.Done, all.Total+p.Total
	}
	return fmt.Sprintf(", %d %%", percent(all)/25*25)
}
