package cluster

import (
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// MaxWhy is how long a person's reason may be, in characters.
const MaxWhy = 500

// BadWhy says why a person's reason is not taken, with the place, or nothing. Others
// read it on their terminals in the middle of a line, so it begins none of its own and
// holds nothing that a terminal obeys.
func BadWhy(why string) string {
	at := 0
	for i, r := range why {
		at++
		switch _, size := utf8.DecodeRuneInString(why[i:]); {
		case r == utf8.RuneError && size == 1:
			return fmt.Sprintf("character %d is not UTF-8", at)
		case r == '\n' || r == '\r':
			return fmt.Sprintf("character %d begins a new line", at)
		case !unicode.IsPrint(r):
			return fmt.Sprintf("character %d (%U) cannot be printed", at, r)
		case at > MaxWhy:
			return fmt.Sprintf("it is longer than %d characters", MaxWhy)
		}
	}
	return ""
}

// InLine is a text as it may stand within a line of others': quoted where it holds
// what BadWhy refuses, as one that was taken before it did may.
func InLine(s string) string {
	for _, r := range s {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}
