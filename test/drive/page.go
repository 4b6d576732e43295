package drive

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Page is a document whose commands a test types word for word.
type Page struct {
	t    testing.TB
	path string
	text string
}

// ReadPage reads a document of docs/.
func ReadPage(t testing.TB, name string) Page {
	t.Helper()
	path := filepath.Join(filepath.Dir(Programs(t)), "docs", name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Page{t: t, path: path, text: string(b)}
}

// Commands are the command blocks (```sh) under a heading, up to the next one of
// any level, as one script. Of each of these lines, which set variables, the
// values are the test's: a reader types his own there, too.
func (p Page) Commands(heading string, values ...string) string {
	p.t.Helper()
	_, rest, found := strings.Cut(p.text, "\n"+heading+"\n")
	if !found {
		p.t.Fatalf("%s has no heading %q", p.path, heading)
	}
	if i := regexp.MustCompile(`(?m)^#+ \S.*$`).FindStringIndex(withoutBlocks(rest)); i != nil {
		rest = rest[:i[0]]
	}
	var script strings.Builder
	for _, b := range regexp.MustCompile("(?s)```sh\n(.*?)\n```").FindAllStringSubmatch(rest, -1) {
		script.WriteString(b[1] + "\n")
	}
	if script.Len() == 0 {
		p.t.Fatalf("%s has no commands under %q", p.path, heading)
	}
	out := script.String()
	for _, v := range values {
		name, _, _ := strings.Cut(v, "=")
		set := regexp.MustCompile(`(^|[ \n])` + regexp.QuoteMeta(name) + `=\S+`)
		if !set.MatchString(out) {
			p.t.Fatalf("%s sets no %s under %q", p.path, name, heading)
		}
		loc := set.FindStringSubmatchIndex(out)
		out = out[:loc[3]] + v + out[loc[1]:]
	}
	return out
}

// withoutBlocks blanks the command blocks, in which a comment is no heading.
func withoutBlocks(text string) string {
	return regexp.MustCompile("(?s)```.*?\n```").ReplaceAllStringFunc(text, func(b string) string {
		return strings.Repeat(" ", len(b))
	})
}

// Type runs a script as a person would type it, in the installation's directory.
func (in *Installation) Type(script string) Result {
	in.T.Helper()
	cmd := in.shell(in.Write("typed.sh", "set -euo pipefail\n"+script))
	// What it leaves running in the background holds its output open.
	cmd.WaitDelay = 5 * time.Second
	return in.finish(cmd, Patience)
}
