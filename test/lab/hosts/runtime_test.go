package hosts

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/test/drive"
	"cke/test/lab"
)

// byDesign is how a test of the agent says that it is not for a machine.
const byDesign = "with systemd: "

// TestRuntimeConformance runs the agent's own tests on a machine, where they use
// the systemd of that machine, and has a subtest for each.
func TestRuntimeConformance(t *testing.T) {
	tests := conformance{t: t, m: lab.Start(t, 1).Machine(1), output: map[string]string{}}
	tests.install()
	tests.report(tests.run())
}

// conformance is a run of the agent's tests on a machine.
type conformance struct {
	t      *testing.T
	m      *lab.Machine
	output map[string]string // of each test, and "" of the program
	order  []string          // tests as they ended
	ended  map[string]testEvent
	took   time.Duration
}

// testEvent is what test2json makes of the output of a test program.
type testEvent struct {
	Action, Test, Output string
	Elapsed              float64
}

const suiteDir = "/opt/test" // on the file system of /opt, as the tests want it

// install puts the tests and the programs they use on the machine.
func (c *conformance) install() {
	c.t.Helper()
	dir := c.t.TempDir()
	build := exec.Command("go", "test", "-c", "-tags=machine", "-trimpath", "-o", dir+"/agent.test", "cke/internal/host/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // the machine has no C library to rely on
	if out, err := build.CombinedOutput(); err != nil {
		c.t.Fatalf("build the agent's tests: %v\n%s", err, out)
	}
	bin := drive.Programs(c.t)
	data := filepath.Join(bin, "../internal/host/agent/testdata")
	pack := exec.Command("tar", "-c", "-h", "-C", dir, "agent.test", "-C", bin, "cke-host", "etcd", "-C", filepath.Dir(data), "testdata")
	packed, err := pack.Output()
	if err != nil {
		c.t.Fatalf("pack the agent's tests: %v", err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
	defer cancel()
	if _, err := c.m.ExecInput(ctx, string(packed), "sh", "-c", "mkdir -p "+suiteDir+" && tar -x --no-same-owner -C "+suiteDir); err != nil {
		c.t.Fatal(err)
	}
}

// run returns what the tests wrote.
func (c *conformance) run() []byte {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 16*time.Minute)
	defer cancel()
	began := time.Now()
	out, err := c.m.Exec(ctx, "sh", "-c", "cd "+suiteDir+` && exec env CKE_TEST_MACHINE=systemd CKE_TEST_HELPER=$PWD/cke-host CKE_ETCD_BIN=$PWD/etcd \
./agent.test -test.v=test2json -test.parallel=1 -test.timeout=15m 2>&1`)
	c.took = time.Since(began)
	if err != nil { // which tests failed is in the output
		c.t.Logf("agent.test: %v", err)
	}
	if out == "" {
		c.t.Fatal("the agent's tests wrote nothing")
	}
	return []byte(out)
}

// report has a subtest for each test that ran. What was skipped by design is
// noted, any other skip is one here too.
func (c *conformance) report(out []byte) {
	c.t.Helper()
	c.read(out)
	var began, notes []string
	for name := range c.output {
		if _, ok := c.ended[name]; !ok {
			began = append(began, name)
		}
	}
	for _, name := range c.order {
		if name == "" {
			continue
		}
		c.t.Run(name, func(t *testing.T) {
			e := c.ended[name]
			switch why := said(c.output[name]); {
			case e.Action == "fail":
				t.Errorf("on the machine, after %.2f s:\n%.8000s", e.Elapsed, c.output[name])
			case e.Action == "skip" && strings.Contains(why, byDesign):
				notes = append(notes, name+": "+why)
			case e.Action == "skip":
				t.Skip(why)
			}
		})
	}
	slices.Sort(began)
	for _, name := range began {
		c.t.Errorf("%q never ended:\n%s", name, c.output[name])
	}
	if c.ended[""].Action != "pass" && !c.t.Failed() {
		c.t.Errorf("no test failed, but the program did:\n%s", c.output[""])
	}
	if len(c.order) < 200 {
		c.t.Errorf("only %d tests ran", len(c.order))
	}
	c.t.Logf("%d tests in %s, not for a machine:\n  %s\nthe longest:\n  %s", len(c.order), c.took.Round(time.Second),
		strings.Join(notes, "\n  "), strings.Join(c.longest(12), "\n  "))
}

// longest are the tests that took the most time.
func (c *conformance) longest(n int) []string {
	whole := slices.DeleteFunc(slices.Clone(c.order), func(name string) bool { return name == "" || strings.Contains(name, "/") })
	slices.SortFunc(whole, func(a, b string) int { return cmp.Compare(c.ended[b].Elapsed, c.ended[a].Elapsed) })
	var out []string
	for _, name := range whole[:min(n, len(whole))] {
		out = append(out, fmt.Sprintf("%s %.1f s", name, c.ended[name].Elapsed))
	}
	return out
}

func (c *conformance) read(out []byte) {
	c.t.Helper()
	convert := exec.Command("go", "tool", "test2json", "-t")
	convert.Stdin = bytes.NewReader(out)
	events, err := convert.Output()
	if err != nil {
		c.t.Fatalf("test2json: %v", err)
	}
	c.ended = map[string]testEvent{}
	lines := bufio.NewScanner(bytes.NewReader(events))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e testEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			c.t.Fatalf("%v in %q", err, lines.Text())
		}
		switch e.Action {
		case "run", "output":
			c.output[e.Test] += e.Output
		case "pass", "fail", "skip":
			c.ended[e.Test] = e
			c.order = append(c.order, e.Test)
		}
	}
	if err := lines.Err(); err != nil {
		c.t.Fatal(err)
	}
}

var ownLines = regexp.MustCompile(`(?m)^\s*(=== |--- ).*\n`)

// said is a test's output without what the test program adds.
func said(output string) string {
	return strings.Join(strings.Fields(ownLines.ReplaceAllString(output, "")), " ")
}
