package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// table lines up rows; the first is the header.
func table(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t")) // a strings.Builder takes everything
	}
	_ = w.Flush()
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return out.String()
}

// wrap breaks text at textWidth, further lines indented; lines of their own
// stay. A line that is indented is to be typed, and stays in one piece.
func wrap(text, first, rest string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			b.WriteString(rest + strings.TrimRight(line, "\n") + "\n")
			continue
		}
		at := first
		for word := range strings.FieldsSeq(line) {
			if len(at) > len(rest) && len(at)+1+len(word) > textWidth {
				b.WriteString(at + "\n")
				at = rest
			}
			if strings.TrimSpace(at) != "" && !strings.HasSuffix(at, " ") {
				at += " "
			}
			at += word
		}
		b.WriteString(at + "\n")
		first = rest
	}
	return b.String()
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// bytesText is a size for people: three digits and a binary unit.
func bytesText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), ""
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		v, unit = v/1024, u
		if v < 1000 {
			break
		}
	}
	if v < 10 {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}
