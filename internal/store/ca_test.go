package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/seal"
)

func TestAuthoritiesAreCreatedOnceAllTogether(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	if _, err := authorityOf(ctx, s, "main", "server"); !errors.Is(err, ErrNotFound) {
		t.Errorf("at first: %v", err)
	}
	roles := map[string]Authority{
		"server":      {Cert: []byte("server cert"), Key: []byte("server key")},
		"etcd-peer":   {Cert: []byte("peer cert"), Key: []byte("peer key")},
		"etcd-client": {Cert: []byte("client cert"), Key: []byte("client key")},
	}
	if err := s.CreateCAs(ctx, "main", roles); err != nil {
		t.Fatal(err)
	}
	again := map[string]Authority{"server": {}, "new": {}}
	if err := s.CreateCAs(ctx, "main", again); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v", err)
	}
	if _, err := authorityOf(ctx, s, "main", "new"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the refused one: %v", err)
	}
	for role, want := range roles {
		got, err := authorityOf(ctx, s, "main", role)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, role, got, want)
	}
	if err := s.CreateCAs(ctx, "a/b", roles); err == nil {
		t.Error("a cluster name with a slash was taken")
	}
}

func TestNoSecretReachesTheDisk(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	secret := []byte("-----BEGIN EC PRIVATE KEY-----")
	if err := s.CreateCAs(t.Context(), "main", map[string]Authority{"server": {Cert: []byte("c"), Key: secret}}); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if err := s.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	// As it would be in JSON: base64 of the middle, whatever the alignment.
	parts := [][]byte{secret, []byte("QkVHSU4gRUMgUFJJVkFURSBLRVk"), []byte("RUdJTiBFQyBQUklWQVRFIEtFW"), []byte("JFR0lOIEVDIFBSSVZBVEUgS0VZ")}
	look := func(where string, b []byte) {
		for _, p := range parts {
			if bytes.Contains(b, p) {
				t.Errorf("%s holds the key", where)
			}
		}
	}
	look("the backup", backup.Bytes())
	files := 0
	err := filepath.WalkDir(storeDir(o.Dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		look(path, b)
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("looked at %d files, %v", files, err)
	}
}

func TestAuthorityMovedOrOfAnotherKeyIsRefused(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	if err := s.CreateCAs(ctx, "main", map[string]Authority{"server": {Key: []byte("k")}}); err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Get(ctx, caKey("main", "server"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.CreateKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Seal([]byte(`{}`), caKey("main", "foreign"))
	if err != nil {
		t.Fatal(err)
	}
	for role, value := range map[string]string{"moved": string(resp.Kvs[0].Value), "foreign": string(foreign)} {
		if _, _, err := s.change(ctx, nil, clientv3.OpPut(caKey("main", role), value)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := authorityOf(ctx, s, "main", "moved"); !errors.Is(err, seal.ErrTampered) {
		t.Errorf("moved: %v", err)
	}
	if _, err := authorityOf(ctx, s, "main", "foreign"); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("foreign: %v", err)
	}
}

func authorityOf(ctx context.Context, s *Store, name, role string) (Authority, error) {
	all, err := s.CAs(ctx, name, []string{role})
	return all[role], err
}
