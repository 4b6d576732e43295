package cluster

import (
	"strings"
	"testing"
)

// TestAReasonIsOneLineOfText: what a person gives as a reason does nothing to the
// terminal of whoever reads it.
func TestAReasonIsOneLineOfText(t *testing.T) {
	for why, want := range map[string]string{
		"":                                "",
		"moving racks, ask Ada":           "",
		"Wärmetauscher – läuft 漏れ":        "",
		`"quoted" and \n`:                 "",
		strings.Repeat("ä", MaxWhy):       "",
		strings.Repeat("ä", MaxWhy+1):     "it is longer than 500 characters",
		"one\ntwo":                        "character 4 begins a new line",
		"über\rschrieben":                 "character 5 begins a new line",
		"\x1b[2J":                         "character 1 (U+001B) cannot be printed",
		"a\ttab":                          "character 2 (U+0009) cannot be printed",
		"\u202eesrever":                   "character 1 (U+202E) cannot be printed",
		"\u009b31m":                       "character 1 (U+009B) cannot be printed",
		"ab\xffc":                         "character 3 is not UTF-8",
		strings.Repeat("a", 600) + "\x1b": "it is longer than 500 characters",
	} {
		if got := BadWhy(why); got != want {
			t.Errorf("%q: %q, want %q", why, got, want)
		}
		if got := InLine(why); strings.ContainsAny(got, "\n\r\x1b\u202e\u009b") {
			t.Errorf("%q is shown as %q", why, got)
		}
	}
	for s, want := range map[string]string{"racks": "racks", `a "b"`: `a "b"`, "a\nb": `"a\nb"`, "\x1b[2J": `"\x1b[2J"`} {
		if got := InLine(s); got != want {
			t.Errorf("%q within a line is %q, want %q", s, got, want)
		}
	}
}
