package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func noon() time.Time { return time.Date(2026, 8, 4, 14, 0, 0, 987654321, time.FixedZone("", 2*3600)) }

func options(dir string, keep int) LocalOptions {
	return LocalOptions{Dir: dir, MaxBackups: keep, Now: noon}
}

// names lists a directory, the lock file left out.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Name() != lockName {
			out = append(out, e.Name())
		}
	}
	return out
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("the directory holds %q, want %q", got, want)
	}
}

// TestWriteLocal takes one snapshot of a real etcd for all that follows.
func TestWriteLocal(t *testing.T) {
	source := realSnapshot(t)
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]func(*testing.T, []byte){
		"makes a backup": makesBackup, "refuses options": refusesOptions, "prunes": prunes, "damaged": damaged,
		"a stream that breaks": brokenStream, "cancelled": cancelled, "the same second": sameSecond,
		"never the new one": neverTheNewOne, "rotten pages": rottenPages,
	} {
		t.Run(name, func(t *testing.T) { test(t, data) })
	}
	t.Run("full disk", func(t *testing.T) { fullDisk(t, source) })
	t.Run("killed", func(t *testing.T) { killed(t, source, data) })
}

func makesBackup(t *testing.T, data []byte) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	var seen []int64
	res, err := WriteLocal(t.Context(), options(dir, 1), iotest.HalfReader(bytes.NewReader(data)), func(n int64) { seen = append(seen, n) })
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "etcd-20260804-120000.backup"); res.Path != want || res.Bytes != int64(len(data)) || res.Removed != nil {
		t.Errorf("%+v, want the path %s and %d bytes", res, want, len(data))
	}
	if len(seen) < 2 || !slices.IsSorted(seen) || seen[len(seen)-1] != int64(len(data)) {
		t.Errorf("progress %v", seen)
	}
	for path, mode := range map[string]fs.FileMode{res.Path: 0o600, dir: 0o700 | fs.ModeDir, filepath.Dir(dir): 0o700 | fs.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode(), err, mode)
		}
	}
	// Etcd's check changes nothing.
	if got, err := os.ReadFile(res.Path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the backup is not the snapshot: %v", err)
	}
	wantNames(t, dir, "etcd-20260804-120000.backup")

	out, err := exec.Command(program(t, "etcdutl"), "snapshot", "status", res.Path, "-w", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Hash     uint32 `json:"hash"`
		Revision int64  `json:"revision"`
		TotalKey int    `json:"totalKey"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		t.Fatal(err)
	}
	if res.Hash != status.Hash || res.Revision != status.Revision || res.Keys != status.TotalKey || res.Revision != 42 {
		t.Errorf("%+v, etcdutl says %s", res, out)
	}
}

func refusesOptions(t *testing.T, data []byte) {
	for _, keep := range []int{0, -1} {
		dir := filepath.Join(t.TempDir(), "new")
		if res, err := WriteLocal(t.Context(), options(dir, keep), bytes.NewReader(data), nil); err == nil || !strings.Contains(err.Error(), "at least 1") {
			t.Errorf("keep %d: %+v, %v", keep, res, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("keep %d touched the directory: %v", keep, err)
		}
	}
	if _, err := WriteLocal(t.Context(), options("", 1), bytes.NewReader(data), nil); err == nil {
		t.Error("no directory is accepted")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := WriteLocal(t.Context(), options(dir, 1), bytes.NewReader(data), nil); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func prunes(t *testing.T, data []byte) {
	dir := t.TempDir()
	others := []string{
		"etcd-20250101-000000.backup.old", "xetcd-20250101-000000.backup", "etcd-20250101-000000.BACKUP", "etcd-2025101-000000.backup",
		"etcd-99999999-999999.backup", "etcd-20250101-000000", ".etcd-20250101-000000.backup", ".etcd-x.partial", ".etcd-12.partial.txt", "notes",
	}
	old := []string{"etcd-20250101-000000.backup", "etcd-20250102-000000.backup", "etcd-20260101-000000.backup"}
	for _, name := range append(slices.Clone(others), old...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	others = append(others, "etcd-20240101-000000.backup", "etcd-20240102-000000.backup")
	if err := os.Mkdir(filepath.Join(dir, "etcd-20240101-000000.backup"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("notes", filepath.Join(dir, "etcd-20240102-000000.backup")); err != nil {
		t.Fatal(err)
	}
	// A backup that fails removes nothing.
	if _, err := WriteLocal(t.Context(), options(dir, 1), bytes.NewReader(data[:len(data)-1]), nil); err == nil {
		t.Fatal("a short snapshot is accepted")
	}
	for _, c := range []struct {
		keep    int
		removed []string
		left    []string
	}{
		{10, nil, append(slices.Clone(old), "etcd-20260804-120000.backup")},
		{3, old[:2], []string{old[2], "etcd-20260804-120000.backup", "etcd-20260804-120001.backup"}},
		{1, []string{old[2], "etcd-20260804-120000.backup", "etcd-20260804-120001.backup"}, []string{"etcd-20260804-120002.backup"}},
	} {
		res, err := WriteLocal(t.Context(), options(dir, c.keep), bytes.NewReader(data), nil)
		if err != nil {
			t.Fatal(err)
		}
		var removed []string
		for _, path := range res.Removed {
			removed = append(removed, filepath.Base(path))
		}
		if !slices.Equal(removed, c.removed) {
			t.Errorf("keep %d removed %q, want %q", c.keep, removed, c.removed)
		}
		want := append(slices.Clone(others), c.left...)
		slices.Sort(want)
		wantNames(t, dir, want...)
	}
}

// A clock that went back makes the new backup the oldest by name.
func neverTheNewOne(t *testing.T, data []byte) {
	dir := t.TempDir()
	for _, name := range []string{"etcd-20300101-000000.backup", "etcd-20300102-000000.backup"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := WriteLocal(t.Context(), options(dir, 2), bytes.NewReader(data), nil); err != nil {
		t.Fatal(err)
	}
	wantNames(t, dir, "etcd-20260804-120000.backup", "etcd-20300102-000000.backup")
}

func withSum(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(slices.Clone(body), sum[:]...)
}

func damaged(t *testing.T, data []byte) {
	body := data[:len(data)-sha256.Size]
	flipped := slices.Clone(data)
	flipped[len(flipped)/2] ^= 1
	holed := slices.Clone(body)
	clear(holed[8192:])
	for name, in := range map[string][]byte{
		"nothing": nil, "one byte": {1}, "a sum only": withSum(nil), "no sum": body, "cut short": data[:len(data)-512], "a bit flipped": flipped,
		"a byte more": append(slices.Clone(data), 0), "a sector, not a database": withSum(make([]byte, 512)),
		"not a database": withSum(bytes.Repeat([]byte("etcd"), 128<<10)), "pages of zeroes": withSum(holed),
		"a database cut short": withSum(body[:len(body)/2/512*512]), "its head only": withSum(body[:8192]),
	} {
		dir := t.TempDir()
		res, err := WriteLocal(t.Context(), options(dir, 1), bytes.NewReader(in), nil)
		if !errors.Is(err, ErrDamaged) || res.Path != "" {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		wantNames(t, dir)
	}
}

func brokenStream(t *testing.T, data []byte) {
	for name, end := range map[string]error{"reset": errors.New("connection reset"), "unexpected EOF": io.ErrUnexpectedEOF} {
		for _, n := range []int{0, 1000, len(data)} {
			dir := t.TempDir()
			_, err := WriteLocal(t.Context(), options(dir, 1), io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(end)), nil)
			if !errors.Is(err, end) || !strings.HasPrefix(err.Error(), "read snapshot: ") {
				t.Errorf("%s after %d bytes: %v", name, n, err)
			}
			wantNames(t, dir)
		}
	}
}

func cancelled(t *testing.T, data []byte) {
	for _, at := range []int64{1, int64(len(data))} {
		dir := t.TempDir()
		why := errors.New("operator went home")
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := WriteLocal(ctx, options(dir, 1), bytes.NewReader(data), func(n int64) {
			if n >= at {
				cancel(why)
			}
		})
		if !errors.Is(err, why) {
			t.Errorf("cancelled at %d bytes: %v", at, err)
		}
		wantNames(t, dir)
	}
}

func sameSecond(t *testing.T, data []byte) {
	const writers = 8
	dir := t.TempDir()
	type made struct {
		res Result
		err error
	}
	results := make(chan made)
	for range writers {
		go func() {
			res, err := WriteLocal(t.Context(), options(dir, writers), bytes.NewReader(data), nil)
			results <- made{res, err}
		}()
	}
	var paths []string
	for range writers {
		m := <-results
		if m.err != nil || len(m.res.Removed) > 0 {
			t.Errorf("%+v, %v", m.res, m.err)
		}
		paths = append(paths, filepath.Base(m.res.Path))
	}
	slices.Sort(paths)
	wantNames(t, dir, paths...)
	if len(slices.Compact(paths)) != writers || paths[0] != "etcd-20260804-120000.backup" || paths[writers-1] != "etcd-20260804-120007.backup" {
		t.Errorf("made %q", paths)
	}
}
