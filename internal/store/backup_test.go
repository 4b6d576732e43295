package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
)

func testBackup(t *testing.T, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRestoredStoreIsTheSameStore(t *testing.T) {
	o := testOptions(t)
	o.Now = func() time.Time { return time.Unix(1700000000, 0) }
	s := open(t, o)
	ctx := t.Context()
	put(t, s, spec("main", 1, 2, 3))
	put(t, s, spec("other", 9))
	bootstrapped(t, s, "main")
	put(t, s, spec("main", 1, 2))
	if _, err := s.AddUser(ctx, "main", cluster.User{Name: "app", Prefix: "/app/"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddUser(ctx, "main", cluster.User{Name: "gone", Prefix: "/gone/"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RemoveUser(ctx, "main", "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddBundle(ctx, "main", bundle("app", "shop", "etcd")); err != nil {
		t.Fatal(err)
	}
	ca := Authority{Cert: []byte("cert"), Key: []byte("key")}
	if err := s.CreateCAs(ctx, "main", map[string]Authority{"server": ca}); err != nil {
		t.Fatal(err)
	}
	for i := range 450 { // more than two pages of keys
		add(t, s, "main", fmt.Sprint(i))
	}
	b := testBackup(t, s)
	want, err := s.Load(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	id, epoch := s.ID(), s.Epoch()
	closeStore(t, s)

	o.Dir = filepath.Join(t.TempDir(), "new")
	if err := Restore(ctx, o.Dir, bytes.NewReader(b), o.Sealer, nil); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	got, err := s.Load(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	want.Revision, got.Revision = 0, 0
	equal(t, "main", got, want)
	if s.ID() != id || s.Epoch() <= epoch+epochJump {
		t.Errorf("id %s, epoch %d; was %s, %d", s.ID(), s.Epoch(), id, epoch)
	}
	names, err := s.Clusters(ctx)
	if err != nil || len(names) != 2 {
		t.Errorf("clusters %v, %v", names, err)
	}
	if got, err := authorityOf(ctx, s, "main", "server"); err != nil || !bytes.Equal(got.Key, ca.Key) {
		t.Errorf("authority %v, %v", got, err)
	}
	if r := add(t, s, "main", "next"); r.Seq != 451 {
		t.Errorf("next record is %d", r.Seq)
	}
	err = Restore(ctx, o.Dir, bytes.NewReader(b), o.Sealer, nil)
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Errorf("over an open store: %v", err)
	}
	closeStore(t, s)
	if err := Restore(ctx, o.Dir, bytes.NewReader(b), o.Sealer, nil); !errors.Is(err, ErrExists) {
		t.Errorf("over a store: %v", err)
	}
}

// sign makes a backup of lines that are whole in themselves.
func sign(lines ...string) []byte {
	body := strings.Join(lines, "\n") + "\n"
	sum := sha256.Sum256([]byte(body))
	last, err := json.Marshal(backupTrailer{Count: len(lines) - 1, SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		panic(err)
	}
	return append([]byte(body), append(last, '\n')...)
}

func TestBadBackupsAreRefusedBeforeAnythingIsWritten(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	put(t, s, spec("main", 1))
	if err := s.CreateCAs(t.Context(), "main", map[string]Authority{"server": {Key: []byte("k")}}); err != nil {
		t.Fatal(err)
	}
	whole := testBackup(t, s)
	lines := strings.Split(strings.TrimSuffix(string(whole), "\n"), "\n")
	lines = lines[:len(lines)-1]
	other := testOptions(t)
	edit := func(line int, old, new string) []byte {
		changed := append([]string(nil), lines...)
		changed[line] = strings.Replace(changed[line], old, new, 1)
		if changed[line] == lines[line] {
			t.Fatalf("%q is not in %q", old, lines[line])
		}
		return sign(changed...)
	}
	var newer *SchemaError
	var wrong *SealKeyError
	for name, c := range map[string]struct {
		backup []byte
		sealer Sealer
		as     any
		says   string
	}{
		"nothing":           {nil, o.Sealer, nil, "cut short"},
		"not a backup":      {[]byte("hello\n"), o.Sealer, nil, "no checksum"},
		"only a trailer":    {sign()[1:], o.Sealer, nil, ""},
		"no trailer":        {[]byte(strings.Join(lines, "\n") + "\n"), o.Sealer, nil, "no checksum"},
		"a line missing":    {bytes.Replace(whole, []byte(lines[2]+"\n"), nil, 1), o.Sealer, nil, "checksum"},
		"a line twice":      {sign(append([]string{lines[0], lines[1]}, lines[1:]...)...), o.Sealer, nil, "out of place"},
		"twice itself":      {append(bytes.Clone(whole), whole...), o.Sealer, nil, "checksum"},
		"a foreign key":     {edit(1, "/cke/", "/etc/"), o.Sealer, nil, "out of place"},
		"an unknown field":  {edit(0, `"format"`, `"x":1,"format"`), o.Sealer, nil, "unknown field"},
		"another format":    {edit(0, `"version":1`, `"version":2`), o.Sealer, nil, "format"},
		"a newer schema":    {edit(0, `"schema":1`, `"schema":9`), o.Sealer, &newer, "9"},
		"another key":       {whole, other.Sealer, &wrong, other.Sealer.ID()},
		"another key's":     {edit(0, o.Sealer.ID(), other.Sealer.ID()), o.Sealer, &wrong, other.Sealer.ID()},
		"a lying key id":    {edit(0, o.Sealer.ID(), other.Sealer.ID()), other.Sealer, nil, other.Sealer.ID()},
		"without its epoch": {sign(lines[0]), o.Sealer, nil, keyEpoch},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			err := Restore(t.Context(), dir, bytes.NewReader(c.backup), c.sealer, nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want %q", err, c.says)
			}
			if c.as != nil && !errors.As(err, c.as) {
				t.Errorf("is a %T: %v", err, err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the directory was touched: %v", err)
			}
		})
	}
}

func TestNoCutAndNoFlipIsOverlooked(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	put(t, s, spec("main", 1))
	whole := testBackup(t, s)
	if _, err := readBackup(bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := readBackup(bytes.NewReader(whole[:n])); err == nil {
			t.Errorf("the first %d of %d bytes were believed", n, len(whole))
		}
		for bit := range 8 {
			flipped := bytes.Clone(whole)
			flipped[n] ^= 1 << bit
			if _, err := readBackup(bytes.NewReader(flipped)); err == nil {
				t.Errorf("byte %d bit %d flipped was believed", n, bit)
			}
		}
	}
}

func TestUnfinishedRestoreIsNoStore(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	put(t, s, spec("main", 1))
	b := testBackup(t, s)
	closeStore(t, s)
	o.Dir = t.TempDir()
	left := filepath.Join(o.Dir, restoring+"123")
	if err := os.CopyFS(left, os.DirFS(storeDir(s.dir))); err != nil {
		t.Fatal(err)
	}
	if err := Restore(t.Context(), o.Dir, bytes.NewReader(b), o.Sealer, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover: %v", err)
	}
	if entries, err := os.ReadDir(o.Dir); err != nil || len(entries) != 2 { // lock, store
		t.Errorf("%v, %v", entries, err)
	}
}

func TestBackupIsOfOneRevisionAndHoldsLargeValues(t *testing.T) {
	o := testOptions(t)
	s := open(t, o)
	put(t, s, spec("main", 1))
	for i := range 12 {
		r := testRecord("main", fmt.Sprint(i))
		r.Reason = strings.Repeat("long ", 50_000)
		if _, err := s.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	b := testBackup(t, s)
	o.Dir = t.TempDir()
	if err := Restore(t.Context(), o.Dir, bytes.NewReader(b), o.Sealer, nil); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, o).Records(t.Context(), "main", 20)
	if err != nil || len(got) != 12 || len(got[11].Reason) != 250_000 {
		t.Errorf("%d records, %v", len(got), err)
	}
}
