package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"cke/test/drive"
)

// TestDaemonRefuses: a cke that cannot do right does not start, says why, and
// leaves everything as it is.
func TestDaemonRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	badConfigurations(e)
	if !e.Start() {
		t.Fatal(drive.LastLines(e.Log, 10))
	}
	e.wantMode(filepath.Join(e.Dir, "cke.sock"), 0o600)
	e.wantMode(filepath.Join(e.Dir, "seal.key"), 0o600)
	e.wantMode(filepath.Join(e.Dir, "state"), 0o700)
	oneDaemonAtATime(e)
	pid := e.leader().PID
	e.Stop()

	t.Run("seal key", func(t *testing.T) { wrongSealKeys(e.in(t)) })
	t.Run("damaged store", func(t *testing.T) { damagedStores(e.in(t)) })
	t.Run("newer store", func(t *testing.T) { newerStore(e.in(t)) })
	if !e.Start() {
		t.Fatalf("after all of this cke does not start on its own store:\n%s", drive.LastLines(e.Log, 10))
	}
	if again := e.leader(); again.PID == pid || again.Epoch < 2 {
		t.Errorf("leader %+v", again)
	}
}

// change writes a copy of config.yml in which old is replaced.
func (e *env) change(name string, oldnew ...string) string {
	e.t.Helper()
	b, err := os.ReadFile(filepath.Join(e.Dir, "config.yml"))
	if err != nil {
		e.t.Fatal(err)
	}
	text := strings.NewReplacer(oldnew...).Replace(string(b))
	if text == string(b) {
		e.t.Fatalf("config.yml has nothing of %v", oldnew)
	}
	return e.Write(name, text)
}

func badConfigurations(e *env) {
	e.t.Helper()
	bad := e.Write("bad.yml", "sockte: /x\ndata_dir: relative\nlisten: {address: \":x\"}\ninterval: 1ms\nlog: {level: loud}\nsocket: /a\nsocket: /b\n")
	text := e.daemonFails(1, "--config", bad)
	e.Says("config.yml", text,
		"error: "+bad+`:1:1: unknown key "sockte", did you mean "socket"?`,
		bad+`:2:11: data_dir "relative" is not an absolute path`,
		bad+":3:9: certificate is missing", bad+`:3:19: address ":x" has no port`,
		bad+":4:11: interval 1ms is too short", bad+`:5:14: level "loud" is not one of`,
		bad+`:7:1: repeated key "socket", first at line 6`)
	if strings.Contains(text, "relative/nodes") {
		e.t.Errorf("it complains of a path nobody wrote:\n%s", text)
	}
	e.Says("none", e.daemonFails(1, "--config", "none.yml"), "read configuration", "none.yml: no such file")
	e.Says("flag", e.daemonFails(2, "--confg", "x"), "-confg", "hint: cke --help")
	e.Says("command", e.daemonFails(2, "start"), `unknown command "start"`)
	missing := e.change("tls.yml", "interval: 2s", fmt.Sprintf(
		"listen: {address: \"%s:4433\", certificate: %[2]s/none.crt, key: %[2]s/none.key, client_ca: %[2]s/none-ca.crt}", e.addr(1), e.Dir))
	e.Says("certificates", e.daemonFails(1, "--config", missing), "none.crt", "no such file")
	r := e.Finish(e.Command([]string{"CKE_SERVER="}, "ckecli", "--config", bad, "status"))
	e.Says("ckecli", r.Stderr, "error: "+bad+":1:1: unknown key")
	if r.Code != 1 {
		e.t.Errorf("ckecli with a bad config.yml: exit %d, want 1", r.Code)
	}
}

// oneDaemonAtATime: a second one on the same directory, or the same socket.
func oneDaemonAtATime(e *env) {
	e.t.Helper()
	before := e.leader()
	inUse := fmt.Sprintf("data directory %s/state is in use by the cke with pid %d", e.Dir, before.PID)
	e.Says("the same", e.daemonFails(1, "--config", "config.yml"), "error: "+inUse, "hint: stop that one first")
	second := e.change("second.yml", "cke.sock", "second.sock")
	e.Says("the same directory", e.daemonFails(1, "--config", second), inUse)
	if _, err := os.Stat(filepath.Join(e.Dir, "second.sock")); !os.IsNotExist(err) {
		e.t.Errorf("it left a socket: %v", err)
	}
	e.Says("with --restore-state", e.daemonFails(1, "--config", "config.yml", "--restore-state", e.Write("x", "x")), "x: restore state into")
	third := e.change("third.yml", e.Dir+"/state", e.Dir+"/third", "seal.key", "third.key")
	e.Says("the same socket", e.daemonFails(1, "--config", third), "cke.sock: another daemon listens there")
	if after := e.leader(); after != before {
		e.t.Errorf("the first daemon was %+v and is %+v", before, after)
	}
}

func wrongSealKeys(e *env) {
	key := filepath.Join(e.Dir, "seal.key")
	good, err := os.ReadFile(key)
	if err != nil {
		e.t.Fatal(err)
	}
	lost := e.change("lost.yml", "seal.key", "lost.key")
	e.Says("no key", e.daemonFails(1, "--config", lost), "the store's seal key is missing", "lost.key", "hint: put the key file this store was made with back")
	if _, err := os.Stat(filepath.Join(e.Dir, "lost.key")); !os.IsNotExist(err) {
		e.t.Errorf("a new key was made: %v", err)
	}
	other := e.change("other.yml", "seal.key", "third.key")
	e.Says("another key", e.daemonFails(1, "--config", other),
		"is sealed with key "+sealKeyID(e, "seal.key")+", the key given is "+sealKeyID(e, "third.key"), "hint: point cke at the seal key file whose id is")
	junk := e.change("junk.yml", "seal.key", "junk.key")
	e.Write("junk.key", "my cat\n")
	e.Says("no key file", e.daemonFails(1, "--config", junk), "junk.key: it is not a CKE seal key")
	e.Write("junk.key", strings.Replace(string(good), "=\n", "\n", 1))
	e.Says("a damaged key", e.daemonFails(1, "--config", junk), "junk.key: it is damaged")
	e.Write("junk.key", string(good))
	if err := os.Chmod(filepath.Join(e.Dir, "junk.key"), 0o644); err != nil {
		e.t.Fatal(err)
	}
	e.Says("an open key", e.daemonFails(1, "--config", junk), "mode 0644 is wider than 0600; run: chmod 0600")
}

// damagedStores are copies of a sound store, each with something wrong.
func damagedStores(e *env) {
	db, log := "store/member/snap/db", "store/member/wal/0000000000000000-0000000000000000.wal"
	flipped := func(b []byte) []byte {
		for at := 7; at < len(b); at += 512 {
			b[at] ^= 0x10
		}
		return b
	}
	// Its file is much longer than the log, and zero from there on.
	used := func(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }
	for _, c := range []struct {
		name, file string
		damage     func([]byte) []byte
		says       string
	}{
		{"flipped database", db, flipped, db},
		{"cut database", db, func(b []byte) []byte { return b[:6000] }, db},
		{"empty database", db, func([]byte) []byte { return nil }, "the file is empty"},
		{"no database", db, nil, "the file is missing"},
		{"flipped log", log, func(b []byte) []byte { b[used(b)/2] ^= 0x10; return b }, "store/member/wal"},
		{"cut log", log, func(b []byte) []byte { return b[:used(b)/2] }, "it ends at entry"},
		{"no log", log, nil, "store/member/wal"},
	} {
		dir := filepath.Join(e.Dir, "damaged")
		if err := os.RemoveAll(dir); err != nil {
			e.t.Fatal(err)
		}
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(e.Dir, "state"))); err != nil {
			e.t.Fatal(err)
		}
		damage(e, filepath.Join(dir, c.file), c.damage)
		before := e.tree(dir)
		config := e.change("damaged.yml", e.Dir+"/state", dir)
		e.Says(c.name, e.daemonFails(1, "--config", config), "error: store "+dir, "is damaged: ", c.says, "hint: keep the directory for inspection", "cke --restore-state FILE")
		if after := e.tree(dir); !slices.Equal(after, before) {
			e.t.Errorf("%s: the files changed:\n%s\n%s", c.name, strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
	}
}

// damage changes a file, or removes it.
func damage(e *env, path string, change func([]byte) []byte) {
	e.t.Helper()
	if change == nil {
		if err := os.Remove(path); err != nil {
			e.t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// newerStore: a later cke has worked on it. The store is an etcd, and is given
// the later version by one.
func newerStore(e *env) {
	dir := filepath.Join(e.Dir, "newer")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(e.Dir, "state"))); err != nil {
		e.t.Fatal(err)
	}
	url, peer := "http://"+e.addr(1)+":2379", "http://"+e.addr(1)+":2380"
	cmd := e.Command(nil, "etcd", "--data-dir", filepath.Join(dir, "store"), "--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", peer, "--log-outputs", filepath.Join(e.Dir, "newer.log"))
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, Logger: zap.NewNop()})
	if err != nil {
		e.t.Fatal(err)
	}
	// The client itself gives up on one that has not begun to listen.
	e.ask("read the store's schema", func(ctx context.Context) error {
		got, err := c.Get(ctx, "/cke/schema")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, drive.LastLines(filepath.Join(e.Dir, "newer.log"), 5))
		}
		if len(got.Kvs) != 1 {
			e.t.Errorf("the store's schema: %v", got)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
	defer cancel()
	if _, err := c.Put(ctx, "/cke/schema", `{"version":99}`); err != nil {
		e.t.Error(err)
	}
	if err := c.Close(); err != nil {
		e.t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		e.t.Error(err)
	}
	_ = cmd.Wait() // etcd ends by its own signal
	config := e.change("newer.yml", e.Dir+"/state", dir)
	for range 2 { // the first refusal must not have changed it
		e.Says("a newer store", e.daemonFails(1, "--config", config), "has schema version 99, this cke knows versions up to ", "hint: start the cke that wrote it, or a newer one")
	}
}
