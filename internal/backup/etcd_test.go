package backup

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program finds one of the real programs.
func program(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("CKE_ETCD_BIN")
	if dir == "" {
		dir = "../../bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run 'make build' first, or set CKE_ETCD_BIN", err)
	}
	return path
}

// ownAddress is a loopback address of this test alone.
func ownAddress() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
}

// realSnapshot is the file that etcdctl takes from a real etcd with 40 keys of
// 32 KiB and one deleted.
func realSnapshot(t *testing.T) string {
	t.Helper()
	etcd, etcdctl := program(t, "etcd"), program(t, "etcdctl")
	dir := t.TempDir()
	own := ownAddress()
	client, peer := "http://"+own+":2379", "http://"+own+":2380"
	var log bytes.Buffer
	cmd := exec.Command(etcd, "--name=a", "--data-dir="+filepath.Join(dir, "data"),
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=a="+peer)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()
	}
	ctl := func(stdin string, args ...string) error {
		c := exec.Command(etcdctl, append([]string{"--endpoints=" + client, "--command-timeout=20s", "--dial-timeout=20s"}, args...)...)
		c.Stdin = strings.NewReader(stdin)
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("etcdctl %s: %w: %s", args[0], err, out)
		}
		return nil
	}
	source := filepath.Join(dir, "snapshot.db")
	err := func() error {
		for deadline := time.Now().Add(90 * time.Second); ; {
			err := ctl("", "endpoint", "health")
			if err == nil || time.Now().After(deadline) {
				break
			}
		}
		for i := range 40 {
			if err := ctl(strings.Repeat("v", 32<<10), "put", fmt.Sprintf("/app/%d", i)); err != nil {
				return err
			}
		}
		if err := ctl("", "del", "/app/7"); err != nil {
			return err
		}
		return ctl("", "snapshot", "save", source)
	}()
	stop()
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	return source
}
