package plan

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Whoever reads a reason at night finds it in the guide.
func TestTheGuideKnowsEveryReason(t *testing.T) {
	guide, err := os.ReadFile("../../docs/etcd.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, dir := range []string{".", "../reconcile"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, files...)
	}
	name := regexp.MustCompile(`Rule(?:: |(?:, r\.\w+)* = )(?:\w+\.\w+, )?"([a-z]\w+)"`)
	found := 0
	for _, f := range sources {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			found++
			if !strings.Contains(string(guide), "`"+m[1]+"`") {
				t.Errorf("%s gives %s, which docs/etcd.md does not name", f, m[1])
			}
		}
	}
	if found < 60 {
		t.Errorf("found only %d reasons in the sources; has their form changed?", found)
	}
}
