package store

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
	"cke/internal/seal"
)

// elsewhere is an etcd that several stores share.
type elsewhere struct {
	place Place
	raw   *clientv3.Client
	key   *seal.Key
}

func newElsewhere(t *testing.T, prefix string) *elsewhere {
	t.Helper()
	o := testOptions(t)
	e, err := startEmbedded(t.Context(), filepath.Join(t.TempDir(), "etcd"), 0, newStore(o, "").log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return &elsewhere{Place{Endpoints: e.client.Endpoints(), Prefix: prefix}, e.client, o.Sealer.(*seal.Key)}
}

func (e *elsewhere) link(t *testing.T) *Link {
	t.Helper()
	l, err := Connect(t.Context(), e.place)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// open is one more daemon on this store.
func (e *elsewhere) open(t *testing.T, name string) *Store {
	t.Helper()
	s, err := OpenShared(t.Context(), e.link(t), Options{
		Dir: t.TempDir(), Sealer: e.key, Hostname: name, Self: Candidate{Hostname: name, Server: "https://" + name},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func lead(t *testing.T, s *Store) *Tenure {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tenure, err := s.Lead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return tenure
}

func TestOneLeadsAndTheNextFollows(t *testing.T) {
	for _, prefix := range []string{"/cke/", "/team/a/"} {
		e := newElsewhere(t, prefix)
		a, b := e.open(t, "a"), e.open(t, "b")
		if _, err := a.Leader(t.Context()); !errors.Is(err, ErrNoLeader) {
			t.Errorf("before anyone leads: %v", err)
		}
		first := lead(t, a)
		rev := put(t, a, spec("main", 1, 2, 3))
		got, _, err := b.Spec(t.Context(), "main")
		if err != nil || len(got.Nodes) != 3 {
			t.Errorf("the other reads %+v, %v", got, err)
		}
		if _, _, err := b.PutSpec(t.Context(), spec("main", 1), rev); !errors.Is(err, ErrNotLeader) {
			t.Errorf("the other writes: %v", err)
		}
		if l, err := b.Leader(t.Context()); err != nil || l.Server != "https://a" || l.Epoch != first.Epoch() || l.StoreID != a.ID() {
			t.Errorf("b says %+v leads, %v", l, err)
		}
		next := make(chan *Tenure, 1)
		go func() {
			tenure, _ := b.Lead(context.WithoutCancel(t.Context())) // nil says that it failed
			next <- tenure
		}()
		if err := a.Resign(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		second := <-next
		if second == nil || second.Epoch() != first.Epoch()+1 {
			t.Fatalf("the next tenure is %+v after %+v", second, first)
		}
		if first.Context().Err() == nil || second.Context().Err() != nil {
			t.Error("the tenures' contexts do not say which is over")
		}
		if a.Epoch() != 0 || b.Epoch() != second.Epoch() || b.ID() != a.ID() {
			t.Errorf("a epoch %d id %s, b epoch %d id %s", a.Epoch(), a.ID(), b.Epoch(), b.ID())
		}
		keys, err := e.raw.Get(t.Context(), "", clientv3.WithFromKey(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range keys.Kvs {
			if !strings.HasPrefix(string(kv.GetKey()), prefix) {
				t.Errorf("key %s is not below %s", kv.GetKey(), prefix)
			}
		}
	}
}

// A leader whose lease the store has let go may not know it for a moment. It
// writes nothing in that moment, and learns of it.
func TestDeposedLeaderWritesNothing(t *testing.T) {
	e := newElsewhere(t, "/cke/")
	a, b := e.open(t, "a"), e.open(t, "b")
	old := lead(t, a)
	rev := put(t, a, spec("main", 1, 2, 3))
	if _, err := e.raw.Revoke(t.Context(), old.session.lease); err != nil {
		t.Fatal(err)
	}
	lead(t, b)
	if _, _, err := a.PutSpec(t.Context(), spec("main", 1), rev); !errors.Is(err, ErrDeposed) {
		t.Errorf("the old leader writes: %v", err)
	}
	eventually(t, "it learns of it", func() bool { return old.Context().Err() != nil })
	if err := a.Resign(t.Context(), old); err != nil {
		t.Errorf("resign: %v", err)
	}
}

// A machine that slept has a clock that stood still and one that did not.
func TestTenureEndsByTheClockOnTheWall(t *testing.T) {
	e := newElsewhere(t, "/cke/")
	a := e.open(t, "a")
	tenure := lead(t, a)
	n := tenure.session
	n.mu.Lock()
	n.expiry = n.expiry.Round(0).Add(-time.Hour)
	n.mu.Unlock()
	eventually(t, "the tenure ends", func() bool { return tenure.Context().Err() != nil })
	if err := a.Resign(t.Context(), tenure); err != nil {
		t.Error(err)
	}
}

func TestWhoWaitsStopsWaiting(t *testing.T) {
	e := newElsewhere(t, "/cke/")
	a, b := e.open(t, "a"), e.open(t, "b")
	lead(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := b.Lead(ctx)
		done <- err
	}()
	line := func() int {
		resp, err := e.raw.Get(t.Context(), allLeaders, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		return int(resp.Count)
	}
	eventually(t, "b stands in line", func() bool { return line() == 2 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := line(); n != 1 {
		t.Errorf("%d stand in line", n)
	}
}

func TestStateMovesIntoASharedStore(t *testing.T) {
	e := newElsewhere(t, "/cke/")
	o := testOptions(t)
	o.Sealer = e.key
	own := open(t, o)
	put(t, own, spec("main", 1, 2, 3))
	bootstrapped(t, own, "main")
	for i := range 300 { // more than one transaction of etcd's default size
		add(t, own, "main", strings.Repeat("x", i))
	}
	if err := own.CreateCAs(t.Context(), "main", map[string]Authority{"server": {Key: []byte("k")}}); err != nil {
		t.Fatal(err)
	}
	backup := testBackup(t, own)

	l := e.link(t)
	// What an earlier attempt left when it was killed.
	if _, err := e.raw.Put(t.Context(), keyRestoring, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.raw.Put(t.Context(), specKey("stale"), "{}"); err != nil {
		t.Fatal(err)
	}
	early := e.open(t, "early")
	var restoring *RestoringError
	if _, err := early.Lead(t.Context()); !errors.As(err, &restoring) || restoring.Hint() == "" {
		t.Errorf("lead amid a restore: %v", err)
	}
	if err := l.Restore(t.Context(), bytes.NewReader(backup), e.key); err != nil {
		t.Fatal(err)
	}
	if err := l.Restore(t.Context(), bytes.NewReader(backup), e.key); !errors.Is(err, ErrExists) {
		t.Errorf("restore over a store: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := e.open(t, "a")
	tenure := lead(t, s)
	if s.ID() != own.ID() || tenure.Epoch() <= own.Epoch()+epochJump {
		t.Errorf("id %s epoch %d, was %s %d", s.ID(), tenure.Epoch(), own.ID(), own.Epoch())
	}
	names, err := s.Clusters(t.Context())
	if err != nil || len(names) != 1 || names[0] != "main" {
		t.Errorf("clusters %v, %v", names, err)
	}
	if b, err := s.Bootstrap(t.Context(), "main"); err != nil || b.Phase != cluster.PhaseBootstrapped {
		t.Errorf("bootstrap %+v, %v", b, err)
	}
	if r := add(t, s, "main", "next"); r.Seq != 301 {
		t.Errorf("next record is %d", r.Seq)
	}
	if strings.Contains(string(testBackup(t, s)), allLeaders) {
		t.Error("who leads is in the backup")
	}
}

func TestSharedStoreIsRefused(t *testing.T) {
	e := newElsewhere(t, "/cke/")
	a := e.open(t, "a")
	lead(t, a)
	other, err := seal.CreateKey(filepath.Join(t.TempDir(), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	var key *SealKeyError
	if _, err := OpenShared(t.Context(), e.link(t), Options{Dir: t.TempDir(), Sealer: other}); !errors.As(err, &key) {
		t.Errorf("another seal key: %v", err)
	}
	l := e.link(t)
	if id, err := l.SealKeyID(t.Context()); err != nil || id != e.key.ID() {
		t.Errorf("seal key id %q, %v", id, err)
	}
	o := testOptions(t)
	o.Sealer = e.key
	closeStore(t, open(t, o))
	var embedded *EmbeddedError
	if _, err := OpenShared(t.Context(), l, o); !errors.As(err, &embedded) || embedded.Hint() == "" {
		t.Errorf("beside a store of its own: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var away *UnreachableError
	if _, err := Connect(ctx, Place{Endpoints: []string{"unix:///nowhere.sock"}, Prefix: "/cke/"}); !errors.As(err, &away) || away.Hint() == "" {
		t.Errorf("nobody there: %v", err)
	}
}
