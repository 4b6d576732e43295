package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// skewVariable tells a skewable program by how many seconds its clock is off.
const skewVariable = "SKEW_SEC"

// SkewClock shifts the clock of the machine's skewable programs: of those that
// an SSH session or systemd starts from now on. Nothing else is touched; there is
// one clock on the box, and it is nobody's to set.
func SkewClock(m *Machine, by time.Duration) Fault {
	setting := fmt.Sprintf("%s=%d", skewVariable, int(by.Seconds()))
	run := func(script string) func() error {
		return func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			_, err := m.Exec(ctx, "sh", "-ec", script)
			return err
		}
	}
	// The file is for services after a reboot, set-environment for those before.
	return Fault{
		Name: fmt.Sprintf("shift the clock of %s by %s", m.name, by),
		Break: run(`
			mkdir -p /etc/systemd/system.conf.d
			printf '[Manager]\nDefaultEnvironment=%s\n' ` + setting + ` >/etc/systemd/system.conf.d/skew.conf
			systemctl set-environment ` + setting + `
			echo SetEnv ` + setting + ` >/etc/ssh/sshd_config.d/skew.conf
			systemctl restart ssh`),
		Heal: run(`
			rm -f /etc/systemd/system.conf.d/skew.conf /etc/ssh/sshd_config.d/skew.conf
			systemctl unset-environment ` + skewVariable + `
			systemctl daemon-reload
			systemctl restart ssh`),
	}
}

// BuildSkewable builds a Go program, of an import path that the test's module
// knows, into out, with a time package whose Now is shifted by SKEW_SEC seconds.
// Libraries that lie to libc do not reach Go.
func BuildSkewable(t testing.TB, out, pkg string) {
	t.Helper()
	overlay, err := timeOverlay(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-overlay", overlay, "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := output(cmd); err != nil {
		t.Fatal(err)
	}
}

// timeOverlay writes a changed copy of the standard library's time.go and the
// file that has the go command use it.
func timeOverlay(dir string) (string, error) {
	goroot, err := command("go", "env", "GOROOT")
	if err != nil {
		return "", err
	}
	original := filepath.Join(strings.TrimSpace(goroot), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("shift the clock of Go: %w", err)
	}
	shifted, err := shiftNow(string(text))
	if err != nil {
		return "", fmt.Errorf("shift the clock of %s: %w", original, err)
	}
	changed, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return "", err
	}
	return overlay, errors.Join(os.WriteFile(changed, []byte(shifted), 0o600), os.WriteFile(overlay, list, 0o600))
}

// shiftNow changes the text of time.go. Only the wall clock is shifted: the
// monotonic one, by which programs wait, runs on as it does on a machine whose
// clock is wrong.
func shiftNow(text string) (string, error) {
	const read = "sec, nsec, mono := runtimeNow()\n"
	const imports = "import (\n"
	if strings.Count(text, read) != 1 || strings.Count(text, imports) != 1 {
		return "", errors.New("this version of Go reads the clock in another way")
	}
	text = strings.Replace(text, read, read+"\tsec += skewSeconds\n", 1)
	if !strings.Contains(text, "\"syscall\"\n") {
		text = strings.Replace(text, imports, imports+"\t\"syscall\"\n", 1)
	}
	return text + `
var skewSeconds = func() (n int64) {
	v, _ := syscall.Getenv("` + skewVariable + `")
	for _, c := range v {
		if c >= '0' && c <= '9' {
			n = n*10 + int64(c-'0')
		}
	}
	if len(v) > 0 && v[0] == '-' {
		return -n
	}
	return n
}()
`, nil
}
