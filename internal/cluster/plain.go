package cluster

import (
	"strings"
	"unicode"
)

// Plain is a text as it may be shown on a terminal: what a machine or a member
// said may hold anything, such as an escape sequence. Lines and tabs stay.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
