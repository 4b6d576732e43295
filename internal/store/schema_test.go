package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// raw runs operations past all checks.
func raw(t *testing.T, s *Store, ops ...clientv3.Op) {
	t.Helper()
	if _, err := s.client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestVersionZeroStoreIsMigrated(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	put(t, s, spec("main", 1, 2, 3))
	// Version 0 had data and an epoch, and no identity and no schema.
	raw(t, s, clientv3.OpDelete(keySchema), clientv3.OpDelete(keyStoreID), clientv3.OpDelete(keySealKey))
	closeStore(t, s)
	s = open(t, o)
	version, err := get[schema](t.Context(), s, keySchema)
	if err != nil || version.Version != len(migrations()) {
		t.Errorf("version %+v, %v", version, err)
	}
	if len(s.ID()) != 32 {
		t.Errorf("id %q", s.ID())
	}
	if _, _, err := s.Spec(t.Context(), "main"); err != nil {
		t.Errorf("the data: %v", err)
	}
}

func TestEachMigrationRunsOnceAndWhole(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	put(t, s, spec("main", 1))
	id := s.ID()
	closeStore(t, s)

	runs := 0
	boom := errors.New("boom")
	rename := migration{"give clusters a domain", func(ctx context.Context, s *Store) ([]clientv3.Op, error) {
		runs++
		old, err := get[cluster.Spec](ctx, s, specKey("main"))
		if err != nil {
			return nil, err
		}
		old.ClusterDomain = "migrated"
		put, err := opPut(specKey("main"), old)
		return []clientv3.Op{put}, err
	}}
	fails := migration{"fail", func(context.Context, *Store) ([]clientv3.Op, error) {
		return []clientv3.Op{clientv3.OpDelete(specKey("main"))}, boom
	}}
	_, err := openWith(t.Context(), o, append(migrations(), rename, fails))
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "from schema 2 to 3 (fail)") {
		t.Fatalf("failing migration: %v", err)
	}
	for range 2 {
		s, err = openWith(t.Context(), o, append(migrations(), rename))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := s.Spec(t.Context(), "main")
		if err != nil || got.ClusterDomain != "migrated" || s.ID() != id {
			t.Errorf("migrated: %+v, %v, id %s", got, err, s.ID())
		}
		closeStore(t, s)
	}
	if runs != 1 {
		t.Errorf("ran %d times", runs)
	}
}

func TestNewerStoreIsRefusedUntouched(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	raw(t, s, clientv3.OpPut(keySchema, `{"version":7}`))
	closeStore(t, s)
	_, err := Open(t.Context(), o)
	var newer *SchemaError
	if !errors.As(err, &newer) || newer.Have != 7 || newer.Know != len(migrations()) || newer.Hint() == "" {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "7") || !strings.Contains(err.Error(), o.Dir) {
		t.Errorf("says %q", err)
	}
	// The one who knows it finds the next epoch: the refused open took none.
	seven := migrations()
	for len(seven) < 7 {
		seven = append(seven, migration{})
	}
	s, err = openWith(t.Context(), o, seven)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	if s.Epoch() != 2 {
		t.Errorf("epoch %d", s.Epoch())
	}
}
