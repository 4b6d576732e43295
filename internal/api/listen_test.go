package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cke/internal/plan"
)

func TestSocketIsForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	if l.Addr().String() != path {
		t.Errorf("address %s", l.Addr())
	}
	if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v %v", names, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket outlives its listener: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestLiveSocketIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	live, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "another daemon listens there") {
		t.Errorf("got %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the live socket was harmed: %v", err)
	}
	c.Close()
}

func TestListenUnixRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "not a socket",
		filepath.Join(dir, strings.Repeat("x", 108)): "choose a shorter one",
		filepath.Join(dir, "no", "such", "s"):        "no such file",
	} {
		if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file was harmed: %q %v", text, err)
	}
}

func TestSocketsOwnDirectoryIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cke")
	l, err := ListenUnix(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
}

func TestOfManyDaemonsOneListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []net.Listener
	for range 8 {
		wg.Go(func() {
			if l, err := ListenUnix(path); err == nil {
				mu.Lock()
				defer mu.Unlock()
				won = append(won, l)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d daemons listen", len(won))
	}
	if err := won[0].Close(); err != nil {
		t.Error(err)
	}
}

func TestCallerIsTheSocketsPeer(t *testing.T) {
	who := make(chan string, 1)
	_, client := serve(t, asked{plan: func(ctx context.Context) (plan.Plan, error) {
		who <- Caller(ctx)
		return plan.Plan{}, nil
	}})
	if _, err := client.Plan(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	if got, want := <-who, fmt.Sprintf("uid %d", os.Getuid()); got != want && !strings.HasPrefix(got, want+" (") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPrintable(t *testing.T) {
	for give, want := range map[string]string{"ada": "ada", "": "", "a\nb": `"a\nb"`, "zoë x": "zoë x"} {
		if got := printable(give); got != want {
			t.Errorf("%q: got %q, want %q", give, got, want)
		}
	}
}
