package drive

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Store is an etcd of its own, with TLS, that keeps the state of several cke.
type Store struct {
	T  testing.TB
	CA *Authority

	dir     string
	bin     string
	address string
	members []*storeMember
}

type storeMember struct {
	client, peer string // URLs
	daemon       *exec.Cmd
}

// NewStore starts an etcd of n members at an address of this machine and waits
// until it serves. It ends with the test.
func NewStore(t testing.TB, n int, address string) *Store {
	t.Helper()
	dir, err := storeDir(n)
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{T: t, CA: NewAuthority(t, dir, "store"), dir: dir, bin: Programs(t), address: address}
	t.Cleanup(func() {
		for i := range s.members {
			s.Kill(i)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("clean up: %v", err)
		}
	})
	s.CA.Issue("member", address)
	s.CA.Issue("cke")
	for range n {
		s.members = append(s.members, &storeMember{client: freeURL(t, address), peer: freeURL(t, address)})
	}
	for i := range n {
		s.Start(i)
	}
	s.Serves()
	return s
}

// storeDir is where a store of n members keeps its data. It stands for one on machines of
// its own, so that it goes on when the disk that all tests share stands still: in memory,
// where there is enough, for a member's log takes 128 MiB from the start.
func storeDir(n int) (string, error) {
	const memory = "/dev/shm"
	var free unix.Statfs_t
	if err := unix.Statfs(memory, &free); err == nil && free.Bavail*uint64(free.Bsize) > uint64(n)<<30 {
		if dir, err := os.MkdirTemp(memory, "cke-store-"); err == nil {
			return dir, nil
		}
	}
	return os.MkdirTemp("", "cke-store-")
}

// Serves waits until every member that runs does.
func (s *Store) Serves() {
	s.T.Helper()
	c := s.Connect()
	deadline := time.Now().Add(Patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for _, m := range s.members {
		for ; m.daemon != nil; <-again.C {
			ctx, cancel := context.WithTimeout(s.T.Context(), time.Second)
			status, err := c.Status(ctx, m.client)
			cancel()
			if err == nil && status.Leader != 0 {
				break
			}
			if time.Now().After(deadline) {
				s.T.Fatalf("the store does not serve at %s: %v", m.client, err)
			}
		}
	}
}

func freeURL(t testing.TB, address string) string {
	t.Helper()
	return "https://" + FreePort(t, address)
}

func (s *Store) file(name string) string { return filepath.Join(s.dir, name) }

// Start starts a member that does not run.
func (s *Store) Start(i int) {
	s.T.Helper()
	m := s.members[i]
	var initial []string
	for j, o := range s.members {
		initial = append(initial, fmt.Sprintf("s%d=%s", j, o.peer))
	}
	log, err := os.OpenFile(s.file(fmt.Sprintf("s%d.log", i)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.T.Fatal(err)
	}
	defer log.Close()
	tls := func(prefix string) []string {
		return []string{
			"--" + prefix + "cert-file=" + s.file("member.crt"), "--" + prefix + "key-file=" + s.file("member.key"),
			"--" + prefix + "trusted-ca-file=" + s.CA.File, "--" + prefix + "client-cert-auth",
		}
	}
	args := append(append([]string{
		fmt.Sprintf("--name=s%d", i), fmt.Sprintf("--data-dir=%s", s.file(fmt.Sprintf("s%d", i))),
		"--listen-client-urls=" + m.client, "--advertise-client-urls=" + m.client,
		"--listen-peer-urls=" + m.peer, "--initial-advertise-peer-urls=" + m.peer,
		"--initial-cluster=" + strings.Join(initial, ","),
		// As for storeDir. No test cuts its power.
		"--unsafe-no-fsync",
	}, tls("")...), tls("peer-")...)
	m.daemon = exec.Command(filepath.Join(s.bin, "etcd"), args...)
	m.daemon.Stdout, m.daemon.Stderr = log, log
	if err := m.daemon.Start(); err != nil {
		s.T.Fatal(err)
	}
}

// Kill ends a member with SIGKILL, if it runs.
func (s *Store) Kill(i int) {
	m := s.members[i]
	if m.daemon == nil {
		return
	}
	_ = m.daemon.Process.Kill() // it may have ended already
	_ = m.daemon.Wait()         // how it ended is known
	m.daemon = nil
}

// Signal sends every member a signal, such as SIGSTOP and SIGCONT.
func (s *Store) Signal(sig syscall.Signal) {
	s.T.Helper()
	for _, m := range s.members {
		if m.daemon == nil {
			continue
		}
		if err := m.daemon.Process.Signal(sig); err != nil {
			s.T.Fatal(err)
		}
	}
}

// Endpoints are the members' client URLs.
func (s *Store) Endpoints() []string {
	var urls []string
	for _, m := range s.members {
		urls = append(urls, m.client)
	}
	return urls
}

// Config is the store in the words of config.yml, through other endpoints if any
// are given.
func (s *Store) Config(endpoints ...string) string {
	if len(endpoints) == 0 {
		endpoints = s.Endpoints()
	}
	return fmt.Sprintf("store: {endpoints: [%s], ca: %s, certificate: %s, key: %s}\n",
		`"`+strings.Join(endpoints, `", "`)+`"`, s.CA.File, s.file("cke.crt"), s.file("cke.key"))
}

// Connect makes a client of the store, closed with the test.
func (s *Store) Connect() *clientv3.Client {
	s.T.Helper()
	cfg, err := clientTLS(s.CA.File, s.file("cke.crt"), s.file("cke.key"))
	if err != nil {
		s.T.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: s.Endpoints(), TLS: cfg, Logger: zap.NewNop()})
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { _ = c.Close() }) // its members may be gone
	return c
}
