package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cke/internal/backup"
	"cke/test/drive"
)

// TestLocalBackup takes snapshots of a real member with the real command.
func TestLocalBackup(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Start()
	e.set(1)
	e.fill(8 << 20)
	t.Run("makes a backup", func(t *testing.T) { makesABackup(e.in(t)) })
	t.Run("keeps as many as asked", func(t *testing.T) { keepsAsManyAsAsked(e.in(t)) })
	t.Run("touches nothing when misused", func(t *testing.T) { backupMisused(e.in(t)) })
	t.Run("several at once", func(t *testing.T) { severalAtOnce(e.in(t)) })
	t.Run("killed", func(t *testing.T) { backupKilled(e.in(t)) })
	// Ends the daemon, so it is last.
	t.Run("cke killed", func(t *testing.T) { backupWithoutDaemon(e, t) })
}

// fill writes so many bytes as root.
func (e *env) fill(bytes int) {
	e.t.Helper()
	c := e.connect(e.RootCert(), 1)
	value := strings.Repeat("x", 1<<20)
	for i := range bytes / len(value) {
		ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
		_, err := c.Put(ctx, fmt.Sprintf("/registry/big/%d", i), value)
		cancel()
		if err != nil {
			e.t.Fatal(err)
		}
	}
}

// snapshotStatus is what etcd's own tool says of a snapshot.
type snapshotStatus struct {
	Hash     uint32 `json:"hash"`
	Revision int64  `json:"revision"`
	TotalKey int    `json:"totalKey"`
}

// isBackup checks that a file is one, by etcd's own tool.
func (e *env) isBackup(path string) snapshotStatus {
	e.t.Helper()
	e.wantMode(path, 0o600)
	r := e.Run("etcdutl", "snapshot", "status", path, "-w", "json")
	if r.Code != 0 {
		e.t.Errorf("etcdutl snapshot status %s: %s", path, r.Stderr)
		return snapshotStatus{}
	}
	return drive.Decode[snapshotStatus](e.t, r.Stdout)
}

// backups lists what looks like a backup in a directory.
func (e *env) backups(dir string) []string {
	e.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		e.t.Fatal(err)
	}
	var names []string
	for _, f := range entries {
		if strings.HasPrefix(f.Name(), "etcd-") {
			names = append(names, f.Name())
		}
	}
	return names
}

func makesABackup(e *env) {
	t, dir := e.t, filepath.Join(e.Dir, "made", "here")
	before := time.Now().UTC().Truncate(time.Second)
	// Names are in UTC wherever the operator sits.
	r := e.Finish(e.Command([]string{"TZ=Asia/Tokyo"}, "ckecli", "etcd", "local-backup", "--dir", dir, "-output=json"))
	after := time.Now().UTC()
	if r.Code != 0 || r.Stderr != "" {
		t.Fatalf("exit %d: %s", r.Code, r.Stderr)
	}
	made := drive.Decode[backup.Result](t, r.Stdout)
	name := filepath.Base(made.Path)
	if !regexp.MustCompile(`^etcd-\d{8}-\d{6}\.backup$`).MatchString(name) || filepath.Dir(made.Path) != dir {
		t.Errorf("the backup is %s", made.Path)
	}
	at, err := time.Parse("etcd-20060102-150405.backup", name)
	if err != nil || at.Before(before) || at.After(after) {
		t.Errorf("%s was made between %s and %s: %v", name, before, after, err)
	}
	e.wantMode(dir, 0o700)
	s := e.isBackup(made.Path)
	if s.Revision < 8 || s.TotalKey < 8 || s.Revision != made.Revision || s.TotalKey != made.Keys || s.Hash != made.Hash {
		t.Errorf("etcdutl says %+v, the command %+v", s, made)
	}
	if info, err := os.Stat(made.Path); err != nil || info.Size() != made.Bytes || made.Bytes < 8<<20 {
		t.Errorf("the file is %v, the command said %d bytes: %v", info, made.Bytes, err)
	}
	if r := e.Run("etcdutl", "snapshot", "restore", made.Path, "--data-dir", filepath.Join(e.Dir, "restored")); r.Code != 0 {
		t.Errorf("etcdutl snapshot restore: %s", r.Stderr)
	}
	if _, err := os.Stat(filepath.Join(e.Dir, "restored", "member", "snap", "db")); err != nil {
		t.Error(err)
	}
}

func keepsAsManyAsAsked(e *env) {
	t, dir := e.t, filepath.Join(e.Dir, "kept")
	if err := os.MkdirAll(filepath.Join(dir, "etcd-20200101-000003.backup"), 0o700); err != nil {
		t.Fatal(err)
	}
	old := []string{"etcd-20200101-000000.backup", "etcd-20200101-000001.backup", "etcd-20200101-000002.backup"}
	others := []string{"etcd-20200101.backup", "etcd-20200101-000000.backup.gz", "etcd-20209901-000000.backup", "my-etcd-20200101-000000.backup", "notes"}
	for _, name := range slices.Concat(old, others) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := e.CLI("etcd", "local-backup", "--dir", "kept", "--max-backups", "2")
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, strings.TrimSpace(line))
	}
	if len(lines) != 3 || lines[1] != "removed kept/"+old[0] || lines[2] != "removed kept/"+old[1] {
		t.Errorf("it says %q", out)
	}
	if !regexp.MustCompile(`^made kept/etcd-\d{8}-\d{6}\.backup \([\d.]+ MiB, keys: \d+, revision \d+\)$`).MatchString(lines[0]) {
		t.Errorf("it says %q", lines[0])
	}
	for _, gone := range old[:2] {
		if _, err := os.Stat(filepath.Join(dir, gone)); !os.IsNotExist(err) {
			t.Errorf("%s: %v, want it removed", gone, err)
		}
	}
	for _, kept := range append(others, old[2], "etcd-20200101-000003.backup") {
		if _, err := os.Stat(filepath.Join(dir, kept)); err != nil {
			t.Error(err)
		}
	}
}

func backupMisused(e *env) {
	full := filepath.Join(e.Dir, "kept")
	before := e.tree(full)
	for _, n := range []string{"0", "-1", "1.5", "many", ""} {
		e.CLIFails(2, []string{"etcd", "local-backup", "--dir", "kept", "--max-backups=" + n}, "--max-backups", "it must be a whole number above 0")
		e.CLIFails(2, []string{"etcd", "local-backup", "--dir", "fresh", "--max-backups=" + n}, "--max-backups")
	}
	e.CLIFails(1, []string{"etcd", "local-backup", "--dir", "config.yml"}, "make backup directory", "config.yml", "not a directory")
	e.CLIFails(1, []string{"etcd", "local-backup", "--dir", "/proc/backups"}, "make backup directory", "/proc/backups")
	e.CLIFails(2, []string{"etcd", "local-backup", "here"}, `unexpected argument "here"`)
	if after := e.tree(full); !slices.Equal(after, before) {
		e.t.Errorf("the directory changed:\n%v\n%v", before, after)
	}
	if _, err := os.Stat(filepath.Join(e.Dir, "fresh")); !os.IsNotExist(err) {
		e.t.Errorf("a directory was made: %v", err)
	}
}

func severalAtOnce(e *env) {
	const n = 4
	results := make(chan drive.Result, n)
	for range n {
		cmd := e.Command(nil, "ckecli", "etcd", "local-backup", "--dir", "several")
		go func() {
			out, err := cmd.Output()
			r := drive.Result{Stdout: string(out), Code: cmd.ProcessState.ExitCode()}
			if err != nil {
				r.Stderr = err.Error()
			}
			results <- r
		}()
	}
	for range n {
		if r := <-results; r.Code != 0 || strings.Contains(r.Stdout, "removed") {
			e.t.Errorf("exit %d: %s%s", r.Code, r.Stdout, r.Stderr)
		}
	}
	names := e.backups(filepath.Join(e.Dir, "several"))
	if len(names) != n {
		e.t.Errorf("%d backups at once left %v", n, names)
	}
	for _, name := range names {
		e.isBackup(filepath.Join(e.Dir, "several", name))
	}
}

// slowLink is a socket in front of cke's own that lets so many bytes of answers
// through and then holds the rest back until it is let go.
type slowLink struct {
	path  string
	left  atomic.Int64
	stuck chan struct{} // closed once it holds something back
	let   chan struct{} // closed to let everything through
}

func (e *env) newSlowLink(bytes int64) *slowLink {
	e.t.Helper()
	s := &slowLink{path: filepath.Join(e.Dir, "slow.sock"), stuck: make(chan struct{}), let: make(chan struct{})}
	s.left.Store(bytes)
	l, err := net.Listen("unix", s.path)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = l.Close() }) // nothing is lost with it
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go s.carry(c, filepath.Join(e.Dir, "cke.sock"))
		}
	}()
	return s
}

func (s *slowLink) carry(c net.Conn, to string) {
	defer c.Close()
	d, err := net.Dial("unix", to)
	if err != nil {
		return // as if cke did not run
	}
	defer d.Close()
	go func() { _, _ = io.Copy(d, c) }() // ends with either end
	buf := make([]byte, 32<<10)
	for {
		n, err := d.Read(buf)
		if before := s.left.Add(int64(-n)) + int64(n); before > 0 && before <= int64(n) {
			close(s.stuck)
		}
		if s.left.Load() <= 0 {
			<-s.let
		}
		if _, werr := c.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// beginBackup starts a backup that stops halfway, and waits until it has.
func beginBackup(e *env, dir string) (*slowLink, *exec.Cmd, *strings.Builder) {
	e.t.Helper()
	link := e.newSlowLink(4 << 20)
	cmd := e.Command([]string{"CKE_SERVER=unix://" + link.path}, "ckecli", "etcd", "local-backup", "--dir", dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	<-link.stuck
	e.Eventually("half of the backup is written", func() error {
		parts, err := filepath.Glob(filepath.Join(e.Dir, dir, ".etcd-*.partial"))
		if err != nil || len(parts) != 1 {
			return fmt.Errorf("unfinished files: %v %v", parts, err)
		}
		if info, err := os.Stat(parts[0]); err != nil || info.Size() < 2<<20 {
			return fmt.Errorf("%v %v", info, err)
		}
		return nil
	})
	return link, cmd, &errs
}

func backupKilled(e *env) {
	link, cmd, _ := beginBackup(e, "killed")
	if err := cmd.Process.Kill(); err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		e.t.Error("it ended well")
	}
	close(link.let)
	dir := filepath.Join(e.Dir, "killed")
	if left := e.backups(dir); len(left) > 0 {
		e.t.Errorf("a killed backup left %v", left)
	}
	// The next one clears up and works.
	e.CLI("etcd", "local-backup", "--dir", "killed")
	if parts, err := filepath.Glob(filepath.Join(dir, ".etcd-*.partial")); err != nil || len(parts) > 0 {
		e.t.Errorf("unfinished files stay: %v %v", parts, err)
	}
	names := e.backups(dir)
	if len(names) != 1 {
		e.t.Fatalf("backups: %v", names)
	}
	e.isBackup(filepath.Join(dir, names[0]))
}

func backupWithoutDaemon(e *env, t *testing.T) {
	sub := e.in(t)
	link, cmd, errs := beginBackup(sub, "broken")
	e.Kill()
	close(link.let)
	err := cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit %d %v, want 1: %s", code, err, errs)
	}
	sub.Says("local-backup", errs.String(), "error: read snapshot: ")
	if left := sub.tree(filepath.Join(e.Dir, "broken")); len(left) != 2 { // the directory and its lock
		t.Errorf("a broken stream left %v", left)
	}
	sub.CLIFails(4, []string{"etcd", "local-backup", "--dir", "none"}, "reach cke at unix://", "hint: is cke running?")
	if _, err := os.Stat(filepath.Join(e.Dir, "none")); !os.IsNotExist(err) {
		t.Errorf("a directory was made: %v", err)
	}
}
