package plan

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the plans in testdata")

// TestGolden decides for each world in testdata and compares the plan word for
// word; a failing case shows what an operator would see.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(ar.Files) != 2 || ar.Files[0].Name != "world" || ar.Files[1].Name != "plan" {
				t.Fatalf("%s must hold world and plan", file)
			}
			w := parseWorld(t, string(ar.Files[0].Data))
			got := Decide(w.spec, w.st, w.now).String()
			if *update {
				ar.Files[1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(ar), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(ar.Files[1].Data), got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGoldenCoversEveryRule reads the sources: every reason a rule can give and
// every kind of step appears in some golden plan.
func TestGoldenCoversEveryRule(t *testing.T) {
	var plans strings.Builder
	golden, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range golden {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		plans.Write(b[strings.Index(string(b), "-- plan --"):])
	}
	sources, err := filepath.Glob("rule_*.go")
	if err != nil {
		t.Fatal(err)
	}
	sources = append(sources, "candidates.go", "defragment.go", "release.go", "withdrawal.go", "reissue.go", "wanted.go", "refusal.go")
	reason := regexp.MustCompile(`(?:Rule: |r\.Rule(?:, r\.\w+)* = )"(\w+)"`)
	var names []string
	for _, f := range sources {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reason.FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
	}
	if len(names) < 15 {
		t.Fatalf("found only %d reasons in the sources; has their form changed?", len(names))
	}
	for _, k := range []Kind{
		CheckHosts, InstallEtcd, RecordBootstrap, InstallCertificates, InstallUnits, StartMembers, ConfigureAuth, FinishBootstrap, AddLearner,
		PromoteLearner, MoveLeader, RemoveMember, RetireMember, ForgetNode, InstallClientCertificates, PutGateway, RemoveGateway, ForgetUser, Compact, Defragment, DisarmAlarm, ForgetDefrag,
		RestartMember, FinishRestart, RollBackMember, TakeSnapshot, EnableDowngrade, CancelDowngrade,
		StopMember, FinishDrain, DrainNode, UndrainNode, RebootMachine, FinishReboot,
	} {
		names = append(names, string(k))
	}
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		if !strings.Contains(plans.String(), n) {
			t.Errorf("no golden plan shows %s", n)
		}
	}
}
