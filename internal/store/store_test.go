package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/seal"
)

// testOptions are options on a fresh directory with a real key.
func testOptions(t *testing.T) Options {
	t.Helper()
	key, err := seal.CreateKey(filepath.Join(t.TempDir(), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	return Options{Dir: t.TempDir(), Sealer: key, Hostname: "test"}
}

// open opens a store that is closed with the test.
func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func node(i int) cluster.Node {
	return cluster.Node{
		Hostname:     cluster.NodeName(fmt.Sprintf("cp%d", i)),
		Address:      netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}),
		ControlPlane: true,
	}
}

func spec(name string, nodes ...int) cluster.Spec {
	s := cluster.Spec{Name: name, ClusterDomain: "cluster.local", Etcd: cluster.Etcd{Version: "3.7.3"}}
	for _, i := range nodes {
		s.Nodes = append(s.Nodes, node(i))
	}
	return s
}

// put stores a spec whatever was there.
func put(t *testing.T, s *Store, want cluster.Spec) int64 {
	t.Helper()
	_, rev, err := s.Spec(t.Context(), want.Name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	rev, _, err = s.PutSpec(t.Context(), want, rev)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestReopenKeepsIdentityAndRaisesTheEpoch(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	id, first := s.ID(), s.Epoch()
	if len(id) != 32 || first != 1 {
		t.Errorf("id %q, epoch %d", id, first)
	}
	rev := put(t, s, spec("main", 1, 2, 3))
	closeStore(t, s)
	if !errors.Is(s.Err(), ErrClosed) {
		t.Errorf("err after close: %v", s.Err())
	}
	if _, _, err := s.Spec(t.Context(), "main"); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	s = open(t, o)
	if s.ID() != id || s.Epoch() != first+1 {
		t.Errorf("id %q, epoch %d", s.ID(), s.Epoch())
	}
	if _, again, err := s.Spec(t.Context(), "main"); err != nil || again != rev {
		t.Errorf("revision %d, %v; was %d", again, err, rev)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	_, err := Open(t.Context(), o)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Dir != o.Dir {
		t.Fatalf("got %v", err)
	}
	if locked.Hint() == "" || !strings.Contains(err.Error(), o.Dir) {
		t.Errorf("says %q, hint %q", err, locked.Hint())
	}
	closeStore(t, s)
	open(t, o)
}

func TestNobodyElseCanEnter(t *testing.T) {
	o := testOptions(t)
	open(t, o)
	for path, want := range map[string]os.FileMode{
		storeDir(o.Dir): os.ModeDir | 0o700,
		filepath.Join(storeDir(o.Dir), socketName): os.ModeSocket | 0o600,
		filepath.Join(o.Dir, "lock"):               0o600,
		filepath.Join(storeDir(o.Dir), "member"):   os.ModeDir | 0o700,
		filepath.Join(storeDir(o.Dir), dbFile):     0o600,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	if ports := listening(t); len(ports) > 0 {
		t.Errorf("listens on TCP: %v", ports)
	}
}

// listening returns the inodes of this process's listening TCP sockets.
func listening(t *testing.T) []string {
	t.Helper()
	own := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		// A descriptor may be gone by now; then it is not a listener.
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	var found []string
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n") {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && own[f[9]] {
				found = append(found, f[1])
			}
		}
	}
	return found
}

func TestAnyDirectoryNameWorks(t *testing.T) {
	for _, name := range []string{strings.Repeat("deep/", 40), "with space", "100%", "q?a#b", "dé"} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t)
			o.Dir = filepath.Join(o.Dir, name)
			s := open(t, o)
			put(t, s, spec("main", 1))
			if _, err := os.Stat(filepath.Join(storeDir(o.Dir), socketName)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnotherSealKeyIsNamed(t *testing.T) {
	o := testOptions(t)
	closeStore(t, open(t, o))
	other := testOptions(t)
	want, have := o.Sealer.ID(), other.Sealer.ID()
	other.Dir = o.Dir
	_, err := Open(t.Context(), other)
	var wrong *SealKeyError
	if !errors.As(err, &wrong) || wrong.Want != want || wrong.Have != have {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{want, have, o.Dir} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	if s := open(t, o); s.Epoch() != 2 {
		t.Errorf("the refused open changed the epoch: %d", s.Epoch())
	}
}

func TestAHealthyStoreLogsNothing(t *testing.T) {
	var log bytes.Buffer
	o := testOptions(t)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	closeStore(t, open(t, o))
	closeStore(t, open(t, o))
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := testOptions(t)
	if _, err := Open(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	open(t, o)
}

func TestDeposedDaemonChangesNothing(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	rev := put(t, s, spec("main", 1, 2, 3))
	// What another daemon on a shared store would do.
	newer := &Store{client: s.client, ctx: s.ctx, log: s.log, now: s.now, sealer: s.sealer}
	if err := newer.claimEpoch(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, _, errSpec := s.PutSpec(ctx, spec("main", 1), rev)
	_, errUser := s.AddUser(ctx, "main", cluster.User{Name: "app", Prefix: "/app/"})
	_, errRecord := s.Append(ctx, testRecord("main", "x"))
	for verb, err := range map[string]error{
		"spec": errSpec, "user": errUser, "record": errRecord,
		"bootstrap": s.AdvanceBootstrap(ctx, "main", "", cluster.Bootstrap{Phase: cluster.PhaseBootstrapping, Token: "t"}),
		"pause":     s.SetPause(ctx, "main", cluster.Pause{By: "me"}),
		"resume":    s.ClearPause(ctx, "main"),
		"forget":    s.ForgetLeaving(ctx, "main", "cp1"),
		"clean":     s.ForgetLeft(ctx, "main", node(1)),
		"cas":       s.CreateCAs(ctx, "main", map[string]Authority{"server": {}}),
		"amend":     s.Amend(ctx, testRecord("main", "x")),
	} {
		if !errors.Is(err, ErrDeposed) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	got, err := newer.Load(ctx, "main")
	if err != nil || got.Revision != rev || len(got.Users) != 0 || got.Bootstrap.Phase != "" || got.Paused != nil {
		t.Errorf("the store has %+v, %v", got, err)
	}
	if _, _, err := newer.PutSpec(ctx, spec("main", 1), rev); err != nil {
		t.Errorf("the new one: %v", err)
	}
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.After(time.Minute)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatalf("%s did not happen", what)
		case <-again.C:
		}
	}
}
