package seal

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestCreatedKeyIsLoadedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "seal.key")
	made, err := CreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if made.ID() != loaded.ID() || len(made.ID()) != 16 {
		t.Errorf("ids: made %q, loaded %q", made.ID(), loaded.ID())
	}
	sealed, err := made.Seal([]byte("x"), "ctx")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := loaded.Open(sealed, "ctx"); err != nil || string(got) != "x" {
		t.Errorf("open with the loaded key: %q, %v", got, err)
	}
	for p, want := range map[string]fs.FileMode{
		path: 0o600, filepath.Dir(path): 0o700, filepath.Dir(filepath.Dir(path)): 0o700,
	} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %04o, want %04o", p, info.Mode().Perm(), want)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v (%v), want only the key", entries, err)
	}
	text := read(t, path)
	if header, _, _ := strings.Cut(text, "\n"); !strings.Contains(header, made.ID()) || !strings.Contains(header, "SECRET") {
		t.Errorf("header says nothing to a person: %q", header)
	}
}

func TestCreateKeyNeverReplacesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := CreateKey(path)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if got := read(t, path); got != "precious" {
		t.Errorf("the file now holds %q", got)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

func TestOneOfManyCreatorsWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "seal.key")
	var won atomic.Pointer[Key]
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			k, err := CreateKey(path)
			if err == nil && !won.CompareAndSwap(nil, k) {
				t.Error("two creators won")
			}
			if err != nil && !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	loaded, err := LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if won.Load() == nil || won.Load().ID() != loaded.ID() {
		t.Error("the file does not hold the winner's key")
	}
}

func TestLoadKeyRefusesFileModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if _, err := CreateKey(path); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[fs.FileMode]bool{
		0o600: true, 0o400: true, 0o700: false, 0o640: false, 0o604: false, 0o620: false, 0o602: false, 0o644: false, 0o601: false,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKey(path)
		if ok && err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if !ok && (err == nil || !strings.Contains(err.Error(), "chmod 0600 "+path)) {
			t.Errorf("mode %04o: got %v, want the command that mends it", mode, err)
		}
	}
}

func TestLoadKeyRefusesContent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "seal.key")
	if _, err := CreateKey(path); err != nil {
		t.Fatal(err)
	}
	good := read(t, path)
	header, secret, _ := strings.Cut(good, "\n")
	other := base64.StdEncoding.EncodeToString(make([]byte, keySize))
	for name, text := range map[string]string{
		"empty":          "",
		"header only":    header + "\n",
		"no header":      secret,
		"another header": "ssh-ed25519 AAAA\n" + secret,
		"newer format":   strings.Replace(good, "-v1 ", "-v2 ", 1),
		"short secret":   header + "\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n",
		"long secret":    header + "\n" + base64.StdEncoding.EncodeToString(make([]byte, 33)) + "\n",
		"not base64":     header + "\n" + strings.Repeat("!", 44) + "\n",
		"other secret":   header + "\n" + other + "\n",
		"trailing line":  good + "more\n",
		"cut":            good[:len(good)-5],
		"huge":           good + strings.Repeat("\n", maxFileSize),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadKey(path)
			if err == nil {
				t.Fatal("loaded")
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
			for _, s := range []string{strings.TrimSpace(secret), other} {
				if strings.Contains(err.Error(), s) {
					t.Errorf("the error holds the secret: %v", err)
				}
			}
		})
	}
}

func TestLoadKeyRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	for path, want := range map[string]string{
		missing: "read seal key " + missing + ": no such file or directory",
		pipe:    "read seal key " + pipe + ": it is not a regular file",
		dir:     "read seal key " + dir + ": it is not a regular file",
	} {
		if _, err := LoadKey(path); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := LoadKey(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a caller cannot see that there is none: %v", err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
