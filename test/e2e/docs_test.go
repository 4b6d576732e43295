package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs runs every command block (```sh) of the README and of the guide, one
// after another in one shell, as a reader would. Only the address, /tmp and
// `make up` are replaced: the test has a network, a directory and a build of its
// own.
func TestDocs(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"README.md", "docs/etcd.md"} {
		t.Run(filepath.Base(doc), func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			text, err := os.ReadFile(filepath.Join("../..", doc))
			if err != nil {
				t.Fatal(err)
			}
			blocks := regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n").FindAllStringSubmatch(string(text), -1)
			if len(blocks) < 2 {
				t.Fatalf("%s has %d command blocks", doc, len(blocks))
			}
			up := filepath.Join(e.Bin, "cke") + " dev --first-address " + e.addr(1)
			script := "set -euo pipefail\n"
			if !strings.Contains(blocks[0][1], "make up") {
				script += up + " up\n. .cke/env\n"
			}
			mine := strings.NewReplacer("make up", up+" up", "127.0.0.1", e.addr(1), "/tmp/", e.Dir+"/")
			for _, b := range blocks {
				script += mine.Replace(b[1]) + "\n"
			}
			cmd := exec.Command("bash", "-c", script)
			cmd.Dir = e.Dir
			out, err := cmd.CombinedOutput()
			down := exec.Command(filepath.Join(e.Bin, "cke"), "dev", "down")
			down.Dir = e.Dir
			downOut, downErr := down.CombinedOutput()
			if err != nil || downErr != nil {
				t.Errorf("%v; down: %v\n%s\n%s", err, downErr, out, downOut)
			}
			if !strings.Contains(string(out), "healthy") {
				t.Errorf("no word of a healthy cluster in:\n%s", out)
			}
		})
	}
}
