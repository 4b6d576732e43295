package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFullDiskIsAnErrorNotAnExit puts /dev/full in the place of the open log, as
// if its disk had filled up: etcd wants to end the process then.
func TestFullDiskIsAnErrorNotAnExit(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	first := add(t, s, "main", "first")
	names, err := s.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fillLog(t)
	if _, err := s.Append(t.Context(), testRecord("main", "second")); err == nil {
		t.Fatal("a record was written to a full disk")
	} else if !strings.Contains(err.Error(), "no space left") {
		t.Errorf("the write says %q", err)
	}
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Fatal("the store goes on")
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), o.Dir) {
		t.Errorf("the store says %v", err)
	}
	if _, open := <-names; open {
		t.Error("the watch goes on")
	}
	if _, err := s.Records(t.Context(), "main", 1); err == nil {
		t.Error("a stopped store answers")
	}
	// A copy stands for the restart: this process still holds etcd's own locks.
	copied := Options{Dir: t.TempDir(), Sealer: o.Sealer}
	if err := os.CopyFS(filepath.Join(storeDir(copied.Dir), "member"), os.DirFS(filepath.Join(storeDir(o.Dir), "member"))); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, copied).Records(t.Context(), "main", 5)
	if err != nil || len(got) == 0 || got[0].Seq != first.Seq {
		t.Errorf("after a restart: %v, %v", got, err)
	}
}

// fillLog makes every further write to the open log fail with ENOSPC.
func fillLog(t *testing.T) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil || !strings.HasSuffix(to, ".wal") {
			continue
		}
		n := 0
		for _, c := range fd.Name() {
			n = n*10 + int(c-'0')
		}
		if err := unix.Dup3(int(full.Fd()), n, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		done++
	}
	if done == 0 {
		t.Fatal("no open log found")
	}
}
