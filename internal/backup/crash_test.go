package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A file size limit fails a write in the middle, as a full disk does, and needs
// no privileges.
func fullDisk(t *testing.T, source string) {
	for _, limit := range []int64{0, 4096, 512 << 10} {
		dir := t.TempDir()
		old := filepath.Join(dir, "etcd-20250101-000000.backup")
		if err := os.WriteFile(old, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := childCommand(t, fmt.Sprintf("limit:%d", limit), dir, source)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "write backup: ") || !strings.Contains(string(out), "file too large") {
			t.Errorf("limit %d: %v, %s", limit, err, out)
		}
		wantNames(t, dir, filepath.Base(old))
	}
}

// A killed backup leaves a file that does not look like one; the next backup
// removes it, but not that of a writer which lives.
func killed(t *testing.T, source string, data []byte) {
	for _, at := range []int{0, len(data) / 2, len(data)} {
		dir := t.TempDir()
		cmd := childCommand(t, fmt.Sprintf("hang:%d", at), dir, source)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil || line != "hanging\n" {
			t.Fatalf("the child says %q, %v", line, err)
		}
		partial := names(t, dir)
		if len(partial) != 1 || !partialName.MatchString(partial[0]) {
			t.Errorf("while it is written the directory holds %q", partial)
		}
		if _, err := WriteLocal(t.Context(), options(dir, 5), bytes.NewReader(data), nil); err != nil {
			t.Error(err)
		}
		wantNames(t, dir, append(partial, "etcd-20260804-120000.backup")...)

		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("a killed child ends well")
		}
		wantNames(t, dir, append(partial, "etcd-20260804-120000.backup")...)
		if _, err := WriteLocal(t.Context(), options(dir, 5), bytes.NewReader(data), nil); err != nil {
			t.Error(err)
		}
		wantNames(t, dir, "etcd-20260804-120000.backup", "etcd-20260804-120001.backup")
	}
}
