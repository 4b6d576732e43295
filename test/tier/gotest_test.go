package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write makes a module of its own, with one package per file.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const head = "package p\n\nimport \"testing\"\n\n"

// TestWhatPassedTestsLoggedIsPrintedWhereItIsWanted: a run says what it consisted of.
func TestWhatPassedTestsLoggedIsPrintedWhereItIsWanted(t *testing.T) {
	dir := write(t, map[string]string{"p_test.go": head + `func TestA(t *testing.T) { t.Log("this was done") }
func TestB(t *testing.T) {}`})
	for _, tells := range []bool{true, false} {
		var out bytes.Buffer
		if _, err := goTest(dir, []string{"./..."}, tells, &out); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "this was done") != tells || strings.Contains(out.String(), "TestB") {
			t.Errorf("wanted: %v\n%s", tells, &out)
		}
	}
}

func TestEveryOutcomeIsCounted(t *testing.T) {
	cases := []struct {
		name, body     string
		passed, failed int
		skips          int
		says           string
	}{
		{"pass", head + `func TestA(t *testing.T) { t.Run("sub", func(t *testing.T) {}) }`, 2, 0, 0, "ok "},
		{"fail", head + `func TestA(t *testing.T) { t.Error("this is why") }`, 0, 1, 0, "this is why"},
		{"panic", head + `func TestA(t *testing.T) {}; func TestB(t *testing.T) { panic("boom") }`, 1, 1, 0, "boom"},
		{"exit", "package p\n\nimport (\"os\"; \"testing\")\n\nfunc TestA(t *testing.T) { os.Exit(3) }", 0, 1, 0, "FAIL"},
		{"broken", head + `func TestA(t *testing.T) { undefined() }`, 0, 1, 0, "undefined: undefined"},
		{"time", head + `func TestA(t *testing.T) { select {} }`, 0, 1, 0, "timed out"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			got, err := goTest(write(t, map[string]string{"p_test.go": c.body}), []string{"-timeout=5s", "./..."}, false, &out)
			if err != nil {
				t.Fatal(err)
			}
			if got.passed != c.passed || got.failed != c.failed || len(got.skips) != c.skips {
				t.Errorf("counted %d passed, %d failed, %d skipped; want %d, %d, %d\n%s",
					got.passed, got.failed, len(got.skips), c.passed, c.failed, c.skips, &out)
			}
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("%q is missing in the output:\n%s", c.says, &out)
			}
		})
	}
}

func TestASkipNamesItsReason(t *testing.T) {
	dir := write(t, map[string]string{
		"p_test.go": head + `func TestA(t *testing.T) { t.Skip("needs root") }; func TestB(t *testing.T) {}`,
	})
	got, err := goTest(dir, []string{"./..."}, false, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.skips) != 1 || got.skips[0].test != "TestA" || !strings.Contains(got.skips[0].why, "needs root") {
		t.Fatalf("skips = %+v", got.skips)
	}
	var out bytes.Buffer
	got.printSkips(&out, true)
	if want := "example TestA: "; !strings.Contains(out.String(), want) {
		t.Errorf("%q is missing in:\n%s", want, &out)
	}
}

func TestNoTestsAtAllIsAnError(t *testing.T) {
	dir := write(t, map[string]string{"p.go": "package p\n"})
	if _, err := goTest(dir, []string{"./..."}, false, &bytes.Buffer{}); err == nil {
		t.Error("a run without a single test passed")
	}
}

func TestEveryPackageHasOneTier(t *testing.T) {
	for pkg, want := range map[string]string{
		"cke/internal/plan":     "",
		"cke/test/e2e":          "",
		"cke/test/lab":          "test/lab",
		"cke/test/faults/disks": "test/faults",
		"cke/test/laboratory":   "",
	} {
		if got := home(pkg); got != want {
			t.Errorf("home(%s) = %q, want %q", pkg, got, want)
		}
	}
}

// What is asked to go on for hours is not cut off by the bound for what hangs.
func TestTheBoundHoldsWhatIsAskedFor(t *testing.T) {
	for asked, want := range map[string]time.Duration{"": 35 * time.Minute, "1h": 95 * time.Minute, "6h": 395 * time.Minute, "soon": 0} {
		got, err := timeout(func(name string) string {
			if name == "CKE_FAULTS_FOR" {
				return asked
			}
			return ""
		})
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("CKE_FAULTS_FOR=%s: %s, %v, want %s", asked, got, err, want)
		}
	}
}

// A crash of the race detector's own is no failure of the package, once; and one
// in a package where a test failed as well does not hide that.
func TestTheDetectorsOwnCrashIsTriedAgain(t *testing.T) {
	for _, says := range []string{
		`"ThreadSanitizer: CHECK failed: tsan_rtl.cpp:346"`,
		`"SIGSEGV: segmentation violation\nPC=0x41c869 m=4\n\ngoroutine 7 gp=0xc0 m=4 [running, synctest bubble 3]:\nruntime.(*timer).maybeRunChan(0xc0, 0xc0)\n"`,
	} {
		crashedAlone(t, "println("+says+"); os.Exit(66)")
	}
	dir := write(t, map[string]string{
		"a/a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { var p *int; t.Log(*p) }",
	})
	if got, err := goTest(dir, []string{"./..."}, false, &bytes.Buffer{}); err != nil || len(got.crashed) > 0 || got.failed == 0 {
		t.Errorf("a null pointer of the package's own: crashed %v, %d failed, %v", got.crashed, got.failed, err)
	}

	for crashes, failed := range map[int]int{0: 0, 1: 0, 2: 0, 3: 1, 9: 1} {
		runs := 0
		got, err := testAgain([]string{"-v"}, []string{"a", "b"}, func(args []string) (tally, error) {
			if runs++; runs <= crashes {
				return tally{passed: 1, crashed: []string{"b"}}, nil
			}
			return tally{passed: 1}, nil
		})
		if err != nil || got.failed != failed || runs != min(crashes+1, maxCrashes) {
			t.Errorf("%d crashes: %d failed after %d runs, %v", crashes, got.failed, runs, err)
		}
	}
}

// crashedAlone checks that a package which ends with this is one that crashed, unless a
// test of it failed.
func crashedAlone(t *testing.T, crash string) {
	t.Helper()
	dir := write(t, map[string]string{
		"a/a_test.go": "package a\n\nimport (\"os\"; \"testing\")\n\nfunc TestA(t *testing.T) { " + crash + " }",
		"b/b_test.go": "package b\n\nimport (\"os\"; \"testing\")\n\nfunc TestA(t *testing.T) { t.Error(1) }; func TestB(t *testing.T) { " + crash + " }",
	})
	got, err := goTest(dir, []string{"./..."}, false, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.crashed) != 1 || got.crashed[0] != "example/a" || got.failed == 0 {
		t.Errorf("crashed %v, %d failed", got.crashed, got.failed)
	}
}
