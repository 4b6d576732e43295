package config

import "strings"

// nearest is the name a misspelt key most likely means, or nothing. One slip in
// three letters is a misspelling; more is another word.
func nearest(key string, names []string) string {
	if len(key) > 64 {
		return ""
	}
	best, least := "", 3
	for _, name := range names {
		d := distance(simple(key), simple(name))
		if d < least && d*3 <= max(len(key), len(name)) {
			best, least = name, d
		}
	}
	return best
}

// simple drops what people write differently.
func simple(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
}

// distance counts the letters to insert, drop, exchange or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	var before, last, row []int
	last = make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row = make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
