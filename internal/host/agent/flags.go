package agent

import (
	"context"
	"maps"
	"regexp"
	"slices"

	"cke/internal/cluster"
)

// helpFlag is a line of `etcd --help` that introduces a flag:
// "  --name 'default'".
var helpFlag = regexp.MustCompile(`(?m)^[ \t]+--([a-z0-9][a-z0-9-]*)`)

// flagsOf are the flags that a binary lists in its help, sorted. They are nil
// when that cannot be read as such a list: then etcd itself has the last word.
func (v *Releases) flagsOf(ctx context.Context, path string) []string {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	help, err := v.outputOf(ctx, path, "--help")
	if err != nil {
		return nil
	}
	return parseHelp(string(help))
}

func parseHelp(help string) []string {
	var out []string
	for _, m := range helpFlag.FindAllStringSubmatch(help, -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	out = slices.Compact(out)
	// Every etcd has this one: a list without it is not the list.
	if !slices.Contains(out, "data-dir") {
		return nil
	}
	return out
}

// knows refuses flags that the etcd of a version would end at. What is not
// installed, or does not tell its flags, is not asked.
func (v *Releases) knows(ctx context.Context, version string, args map[string]string) error {
	if len(args) == 0 {
		return nil
	}
	known, err := v.look(ctx, version)
	if err != nil || len(known.flags) == 0 {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if _, ok := slices.BinarySearch(known.flags, name); !ok {
			return invalid("etcd %s has no flag --%s%s", version, name, hint(name, known.flags))
		}
	}
	return nil
}

// hint names the flag that was probably meant.
func hint(name string, flags []string) string {
	best, nearest := "", 1+min(3, len(name)/3)
	for _, f := range flags {
		if d := distance(name, f); d < nearest {
			best, nearest = f, d
		}
	}
	switch {
	case best == "":
		return ""
	case slices.Contains(cluster.OwnedFlags(), best):
		return "; --" + best + " is CKE's own to set"
	}
	return "; it has --" + best
}

// distance is how many letters must be put in, taken out or replaced to make
// one word the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
