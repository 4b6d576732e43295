// Command tier runs tiers of tests with `go test` and says at the end how many
// tests ran and which were skipped, and why. With CKE_TEST_REQUIRE=all a skip
// is a failure. CKE_TEST_LONG=1 reaches the tests themselves, which then run
// their long forms; here it only raises the time limit, as CKE_FAULTS_FOR does by
// what it has the fault suite go on for.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// tier is a set of packages that is run together.
type tier struct {
	name  string
	holds string // what it tests, in words
	dir   string // where its tests are; empty: all that no other tier has
	alone bool   // its packages share the box's one lab, and so take turns
	// bare: without the race detector, which slows what it runs tenfold.
	bare bool
	// tells: what its tests have logged is printed when they pass, too.
	tells bool
}

func tiers() []tier {
	return []tier{
		{name: "test", holds: "unit, golden, CLI and end-to-end tests on local processes"},
		{name: "sim", holds: "random histories of faults and edits over simulated machines and members, in virtual time", dir: "test/sim", bare: true},
		{name: "lab", holds: "the end-to-end tests on real hosts over SSH, with systemd", dir: "test/lab", alone: true},
		{name: "faults", holds: "killed, paused and cut-off members, full and lost disks, under load", dir: "test/faults", alone: true, tells: true},
		{name: "kube", holds: "a real Kubernetes API server on the cluster, and what CKE exports to it", dir: "test/kube", alone: true},
	}
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: tier NAME…")
		os.Exit(2)
	}
	strict := os.Getenv("CKE_TEST_REQUIRE") == "all"
	var total tally
	for _, name := range os.Args[1:] {
		i := slices.IndexFunc(tiers(), func(t tier) bool { return t.name == name })
		if i < 0 {
			fmt.Fprintf(os.Stderr, "error: no tier is called %q\n", name)
			os.Exit(2)
		}
		got, err := runTier(tiers()[i])
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: run tier %s: %v\n", name, err)
			os.Exit(1)
		}
		total.add(got)
	}
	total.printSkips(os.Stdout, strict)
	fmt.Printf("%d passed, %d failed, %d skipped\n", total.passed, total.failed, len(total.skips))
	if total.failed > 0 || strict && len(total.skips) > 0 {
		os.Exit(1)
	}
}

// runTier runs one tier's packages. An error means that the tests could not be
// run at all; failed tests are counted.
func runTier(t tier) (tally, error) {
	pkgs, err := packages(t)
	if err != nil {
		return tally{}, err
	}
	if len(pkgs) == 0 {
		fmt.Printf("tier %s: no tests yet; it will hold: %s\n", t.name, t.holds)
		return tally{}, nil
	}
	fmt.Printf("tier %s: %s\n", t.name, t.holds)
	limit, err := timeout(os.Getenv)
	if err != nil {
		return tally{}, err
	}
	var noRace []skip
	args := []string{"-count=1", "-timeout=" + limit.String()}
	if !t.alone && !t.bare { // most of them wait for etcd's own times
		args = append(args, "-parallel=4")
	}
	if t.alone { // waiting for the lab would count against a package's time limit
		args = append(args, "-p=1")
	}
	switch why := raceUnavailable(); {
	case t.bare:
	case why == "":
		args = append(args, "-race")
	default:
		noRace = []skip{{"tier " + t.name, "race detector", why}}
	}
	got, err := testAgain(args, pkgs, func(args []string) (tally, error) { return goTest(".", args, t.tells, os.Stdout) })
	got.skips = append(got.skips, noRace...)
	return got, err
}

// maxCrashes is how often a package may take the race detector down.
const maxCrashes = 3

// testAgain tests packages, and those in which the race detector itself crashed
// once more. One that it never gets through has failed.
func testAgain(args, pkgs []string, test func(args []string) (tally, error)) (tally, error) {
	var total tally
	for range maxCrashes {
		got, err := test(slices.Concat(args, pkgs))
		pkgs, got.crashed = got.crashed, nil
		total.add(got)
		if err != nil || len(pkgs) == 0 {
			return total, err
		}
	}
	total.failed += len(pkgs)
	return total, nil
}

// timeout is for one test binary: a bound for what hangs, not a promise. go's own
// default of 10 minutes is too short for the end-to-end tests on a busy machine.
// What the fault suite is asked to go on for comes on top of it.
func timeout(getenv func(string) string) (time.Duration, error) {
	bound := 35 * time.Minute
	if getenv("CKE_TEST_LONG") == "1" {
		bound = 90 * time.Minute
	}
	text := getenv("CKE_FAULTS_FOR")
	if text == "" {
		return bound, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("CKE_FAULTS_FOR: %w", err)
	}
	return bound + d, nil
}

// packages lists the tier's packages that have tests.
func packages(t tier) ([]string, error) {
	cmd := exec.Command("go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	var pkgs []string
	for _, p := range strings.Fields(string(out)) {
		if home(p) == t.dir {
			pkgs = append(pkgs, p)
		}
	}
	return pkgs, nil
}

// home is the directory of the tier that a package belongs to.
func home(pkg string) string {
	for _, t := range tiers() {
		if t.dir != "" && strings.HasPrefix(pkg+"/", "cke/"+t.dir+"/") {
			return t.dir
		}
	}
	return ""
}

// raceUnavailable says why the race detector cannot be used; on Linux it needs
// cgo and a C compiler.
func raceUnavailable() string {
	out, err := exec.Command("go", "env", "CGO_ENABLED", "CC").Output()
	if err != nil {
		return "go env: " + err.Error()
	}
	f := strings.Fields(string(out))
	if len(f) < 2 || f[0] != "1" {
		return "cgo is off: there is no C compiler, or CGO_ENABLED is 0"
	}
	if _, err := exec.LookPath(f[1]); err != nil {
		return "no C compiler: " + err.Error()
	}
	return ""
}
