package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is one line of `go test -json` (cmd/test2json, and build-output from
// cmd/go's `go help buildjson`).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// skip is something that did not run.
type skip struct{ pkg, test, why string }

// tally is what became of the tests.
type tally struct {
	passed, failed int
	skips          []skip
	// crashed are the packages in which the race detector itself ended; it says
	// nothing about their tests.
	crashed []string
}

func (t *tally) add(u tally) {
	t.passed += u.passed
	t.failed += u.failed
	t.skips = append(t.skips, u.skips...)
	t.crashed = append(t.crashed, u.crashed...)
}

func (t *tally) printSkips(w io.Writer, strict bool) {
	if len(t.skips) == 0 {
		fmt.Fprintln(w, "skipped: nothing")
		return
	}
	verdict := ""
	if strict {
		verdict = ", and CKE_TEST_REQUIRE=all does not allow that"
	}
	fmt.Fprintf(w, "skipped%s:\n", verdict)
	for _, s := range t.skips {
		fmt.Fprintf(w, "  %s %s: %s\n", s.pkg, s.test, s.why)
	}
}

// goTest runs `go test -json args` in dir. It prints the output of failed tests
// as they fail, with tells also what others have logged, and go's own line for each
// package at the end. A package that does not build, panics or runs out of time
// counts as one more failure.
func goTest(dir string, args []string, tells bool, w io.Writer) (tally, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return tally{}, err
	}
	if err := cmd.Start(); err != nil {
		return tally{}, err
	}
	r := reader{w: w, tells: tells, output: map[testID][]string{}, failedIn: map[string]bool{}}
	readErr := r.read(out)
	var exit *exec.ExitError
	switch err := cmd.Wait(); {
	case readErr != nil:
		return r.tally, readErr
	case err != nil && !errors.As(err, &exit):
		return r.tally, err
	case err != nil && r.tally.failed+len(r.tally.crashed) == 0:
		return r.tally, fmt.Errorf("go test: %w without a failed test", err)
	case r.tally.passed+r.tally.failed+len(r.tally.crashed) == 0:
		return r.tally, errors.New("no test ran")
	}
	for _, line := range r.closing {
		fmt.Fprint(w, line)
	}
	return r.tally, nil
}

type testID struct{ pkg, test string }

// reader follows the events of one `go test -json`.
type reader struct {
	w        io.Writer
	tells    bool // what passed tests have logged is printed too
	tally    tally
	output   map[testID][]string // of tests that have not ended
	failedIn map[string]bool     // packages in which a test failed by itself
	closing  []string            // go's line for each package
}

func (r *reader) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprintf(r.w, "%s", line) // go's own words, such as a bad flag
			} else {
				r.take(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
}

func (r *reader) take(e event) {
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "output":
		r.output[id] = append(r.output[id], e.Output)
	case "pass", "skip", "fail":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.endTest(e.Action, id)
		}
		delete(r.output, id)
	}
}

func (r *reader) endTest(action string, id testID) {
	switch action {
	case "pass":
		r.tally.passed++
		if r.tells && slices.ContainsFunc(r.output[id], func(l string) bool { return says(l) != "" }) {
			r.print(r.output[id])
		}
	case "skip":
		r.tally.skips = append(r.tally.skips, skip{id.pkg, id.test, reason(r.output[id])})
	case "fail":
		r.tally.failed++
		r.failedIn[id.pkg] = true
		r.print(r.output[id])
	}
}

func (r *reader) endPackage(e event) {
	lines := r.output[testID{e.Package, ""}]
	if e.Action != "fail" {
		r.close(lines)
		return
	}
	// Tests that never ended were cut off by a panic or by the time limit;
	// their output says where.
	var cut []testID
	for id := range r.output {
		if id.pkg == e.Package && id.test != "" {
			cut = append(cut, id)
		}
	}
	slices.SortFunc(cut, func(a, b testID) int { return strings.Compare(a.test, b.test) })
	if !r.failedIn[e.Package] && r.detectorCrashed(append(cut, testID{e.Package, ""})) {
		fmt.Fprintf(r.w, "the race detector itself crashed in %s\n", e.Package)
		r.tally.crashed = append(r.tally.crashed, e.Package)
		for _, id := range cut {
			delete(r.output, id)
		}
		return
	}
	for _, id := range cut {
		r.print(r.output[id])
		delete(r.output, id)
	}
	r.print(lines)
	if len(cut) > 0 || !r.failedIn[e.Package] {
		r.tally.failed++
	}
	r.close(lines)
}

// detectorCrashed: the race detector's runtime fails a check of its own now and
// then in tests with virtual time (golang/go#78156), or reads through a null pointer,
// on the runtime's own stack and where it looks at a timer of a bubble. That is neither
// a race nor the package's doing.
func (r *reader) detectorCrashed(ids []testID) bool {
	said := func(is func(line string) bool) bool {
		return slices.ContainsFunc(ids, func(id testID) bool { return slices.ContainsFunc(r.output[id], is) })
	}
	if said(func(l string) bool { return strings.Contains(l, "ThreadSanitizer: CHECK failed") }) {
		return true
	}
	// A panic of Go's own has "[signal " before it.
	return said(func(l string) bool { return strings.HasPrefix(l, "SIGSEGV: segmentation violation") }) &&
		said(func(l string) bool { return strings.HasPrefix(l, "runtime.(*timer).maybeRunChan(") }) &&
		said(func(l string) bool { return strings.Contains(l, "[running, synctest bubble ") })
}

// close keeps go's own summary of a package: its last line.
func (r *reader) close(lines []string) {
	for _, l := range slices.Backward(lines) {
		if strings.HasPrefix(l, "ok ") || strings.HasPrefix(l, "FAIL\t") || strings.HasPrefix(l, "? ") {
			r.closing = append(r.closing, l)
			return
		}
	}
}

func (r *reader) print(lines []string) {
	for _, l := range lines {
		if !strings.HasPrefix(l, "=== ") {
			fmt.Fprint(r.w, l)
		}
	}
}

// reason is what a test said when it skipped itself: the text of its t.Skip.
func reason(output []string) string {
	var said []string
	for _, l := range output {
		if l := says(l); l != "" {
			said = append(said, l)
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}

// says is what a line of a test's output has of the test itself.
func says(line string) string {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
		return ""
	}
	return line
}
