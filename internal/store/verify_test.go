package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

// filled makes a store with some data, closes it and returns its options.
func filled(t *testing.T) Options {
	t.Helper()
	o := testOptions(t)
	s := open(t, o)
	put(t, s, spec("main", 1, 2, 3))
	for i := range 300 {
		add(t, s, "main", fmt.Sprintf("action %d %s", i, strings.Repeat("x", i%50)))
	}
	closeStore(t, s)
	return o
}

// damage rewrites one file.
func damage(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func firstLog(t *testing.T, o Options) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(storeDir(o.Dir), logDir, "*.wal"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	return logs[0]
}

func TestDamagedStoreIsAnErrorThatNamesTheFile(t *testing.T) {
	o := filled(t)
	db := filepath.Join(storeDir(o.Dir), dbFile)
	log := firstLog(t, o)
	page := os.Getpagesize()
	zero := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:min(to, len(b))]); return b }
	}
	for name, c := range map[string]struct {
		path   string
		change func([]byte) []byte
	}{
		"database empty":        {db, func(b []byte) []byte { return nil }},
		"database of one byte":  {db, func(b []byte) []byte { return b[:1] }},
		"database of 3 pages":   {db, func(b []byte) []byte { return b[:3*page] }},
		"database a page short": {db, func(b []byte) []byte { return b[:used(t, db)-page] }},
		"database is a text":    {db, func([]byte) []byte { return bytes.Repeat([]byte("not a database\n"), 9000) }},
		"both metas zero":       {db, zero(0, 2*page)},
		"all but metas zero":    {db, zero(2*page, 1<<30)},
		"log empty":             {log, func(b []byte) []byte { return nil }},
		"log is a text":         {log, func([]byte) []byte { return bytes.Repeat([]byte("not a log, at all\n"), 9000) }},
		"log cut short":         {log, func(b []byte) []byte { return b[:4096] }},
		"log zeroed behind":     {log, zero(4096, 1<<30)},
		"log byte flipped":      {log, func(b []byte) []byte { b[9000] ^= 1; return b }},
		"log length flipped":    {log, flipLength},
	} {
		t.Run(name, func(t *testing.T) {
			broken := Options{Dir: t.TempDir(), Sealer: o.Sealer}
			if err := os.CopyFS(storeDir(broken.Dir), os.DirFS(storeDir(o.Dir))); err != nil {
				t.Fatal(err)
			}
			rel, err := filepath.Rel(o.Dir, c.path)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(broken.Dir, rel)
			damage(t, path, c.change)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(t.Context(), broken)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("got %v", err)
			}
			if !strings.HasPrefix(path, corrupt.Path) || !strings.Contains(corrupt.Hint(), "ckecli state backup") {
				t.Errorf("says %q, hint %q", err, corrupt.Hint())
			}
			t.Log(err)
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(before, after) {
				t.Errorf("the damaged file was changed, %v", err)
			}
		})
	}
}

// used is how many bytes of a database its pages reach to.
func used(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := pageReader{f: f}
	if err := r.readMeta(); err != nil {
		t.Fatal(err)
	}
	return int(int64(r.end) * r.pageSize)
}

// flipLength makes a record in the middle claim to be longer than the file: to
// etcd that is a torn end, behind which it drops everything.
func flipLength(b []byte) []byte {
	at := 0
	for at < 8000 {
		frame := int(uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16)
		padding := 0
		if b[at+7]&0x80 != 0 {
			padding = int(b[at+7] & 7)
		}
		at += 8 + frame + padding
	}
	b[at+6] = 0x7f
	return b
}

func TestMissingHalfIsDamage(t *testing.T) {
	for _, gone := range []string{dbFile, logDir} {
		o := filled(t)
		path := filepath.Join(storeDir(o.Dir), gone)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), o)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Path != path {
			t.Errorf("without %s: %v", gone, err)
		}
	}
}

// TestUnfinishedFirstStartIsForgotten: each state a killed first start can leave
// is opened as if it had not been.
func TestUnfinishedFirstStartIsForgotten(t *testing.T) {
	noKeys := func(member string) error {
		db, err := bolt.Open(filepath.Join(member, "snap", "db"), 0o600, nil)
		if err != nil {
			return err
		}
		return errors.Join(db.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("key"))
			return err
		}), db.Close())
	}
	for name, leave := range map[string]func(member string) error{
		"an empty database": func(member string) error {
			return os.WriteFile(filepath.Join(member, "snap", "db"), nil, 0o600)
		},
		"a database without keys": noKeys,
		"a log of nothing but its header": func(member string) error {
			w, err := wal.Create(zap.NewNop(), filepath.Join(member, "wal"), []byte("metadata"))
			if err != nil {
				return err
			}
			return errors.Join(noKeys(member), w.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t)
			member := filepath.Join(storeDir(o.Dir), "member")
			if err := os.MkdirAll(filepath.Join(member, "snap"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := leave(member); err != nil {
				t.Fatal(err)
			}
			put(t, open(t, o), spec("main", 1))
		})
	}
}

func TestPagesAreReadAsBoltReadsThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	want := map[string]string{}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"inline", "deep", "empty"} {
			b, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for i := range map[string]int{"inline": 3, "deep": 5000}[name] {
				k, v := fmt.Sprintf("%08d", i), strings.Repeat("v", i*7%900)
				if i == 77 {
					v = strings.Repeat("long", 10000) // overflows its page
				}
				if err := b.Put([]byte(k), []byte(v)); err != nil {
					return err
				}
				want[name+"/"+k] = v
			}
		}
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = readPages(path, func(bucket, key, value []byte) error {
		got[string(bucket)+"/"+string(key)] = string(value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "keys", got, want)
}

// TestNoDamagedDatabaseEndsTheProcess opens databases with random bytes
// changed. Whatever comes of it, the test lives to see it.
func TestNoDamagedDatabaseEndsTheProcess(t *testing.T) {
	o := filled(t)
	whole, err := os.ReadFile(filepath.Join(storeDir(o.Dir), dbFile))
	if err != nil {
		t.Fatal(err)
	}
	whole = whole[:used(t, filepath.Join(storeDir(o.Dir), dbFile))]
	path := filepath.Join(t.TempDir(), "db")
	rnd := rand.New(rand.NewPCG(1, 2))
	noticed, opened := 0, 0
	for range 3000 {
		b := bytes.Clone(whole)
		page := rnd.IntN(len(b)/os.Getpagesize()) * os.Getpagesize()
		for range 1 + rnd.IntN(4) { // most structure lies at a page's start
			b[page+rnd.IntN(200)] ^= byte(1 << rnd.IntN(8))
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readDatabase(path); err != nil {
			noticed++
		} else if page > os.Getpagesize() && opened < 20 {
			opened++
			openDamaged(t, o, path)
		}
	}
	if noticed < 300 {
		t.Errorf("noticed only %d of 3000", noticed)
	}
}

// openDamaged opens a copy of a store with another database; an error is as
// good as none.
func openDamaged(t *testing.T, o Options, db string) {
	t.Helper()
	whole := storeDir(o.Dir)
	o.Dir = t.TempDir()
	if err := os.CopyFS(storeDir(o.Dir), os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	damage(t, filepath.Join(storeDir(o.Dir), dbFile), func([]byte) []byte { return b })
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Logf("refused: %v", err)
		return
	}
	closeStore(t, s)
}
