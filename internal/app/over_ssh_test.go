package app

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/host/remote/sshtest"
)

// endAll ends the members below a directory and waits for them.
func endAll(t *testing.T, dir string) {
	deadline := time.Now().Add(time.Minute)
	for left := 1; left > 0 && time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		left = 0
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		must(t, err)
		for _, path := range lines {
			line, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(line), "\x00--data-dir="+dir+"/") {
				continue
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			must(t, err)
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
			left++
		}
	}
}

// A whole cluster on machines that are reached over SSH, whose connections are
// cut again and again while it is founded.
func TestClusterOverSSH(t *testing.T) {
	etcd, err := filepath.Abs("../../bin/etcd")
	must(t, err)
	if _, err := os.Stat(etcd); err != nil {
		t.Fatalf("%v: run make build", err)
	}
	dir, err := os.MkdirTemp("", "cke-ssh-")
	must(t, err)
	t.Cleanup(func() {
		endAll(t, dir)
		for deadline := time.Now().Add(time.Minute); os.RemoveAll(dir) != nil && time.Now().Before(deadline); {
			<-time.After(20 * time.Millisecond) // a helper writes down how its member ended
		}
	})
	release := filepath.Join(dir, "releases", "v"+cluster.DefaultVersion)
	must(t, os.MkdirAll(release, 0o755))
	must(t, os.Symlink(etcd, filepath.Join(release, "etcd")))

	net := [3]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(250))}
	var servers []*sshtest.Server
	spec := "name: main\nnodes:\n"
	for i := range 3 {
		root := filepath.Join(dir, fmt.Sprint("h", i))
		s, err := sshtest.Start(sshtest.Options{
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{net[0], net[1], net[2], byte(1 + i)}), 0), Like: first(servers),
			Run: func(string, string) *exec.Cmd {
				return exec.Command(helperProgram, "serve", "--root", root, "--releases", filepath.Join(dir, "releases"))
			},
		})
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		servers = append(servers, s)
		spec += fmt.Sprintf("  - {address: %s, hostname: cp%d, control_plane: true, user: cke, port: %d, host_key: '%s'}\n",
			s.Address().Addr(), i+1, s.Address().Port(), s.Fingerprints()[0])
	}
	identity, err := servers[0].WriteIdentity(t.TempDir())
	must(t, err)
	b := newBackend(t, identity)
	_, err = b.PutSpec(t.Context(), "cluster.yml", []byte(spec))
	must(t, err)

	var st api.Status
	deadline := time.After(3 * time.Minute)
	const most = 6
	for cuts := 0; !st.Settled || cuts < most; cuts++ {
		if cuts < most {
			servers[cuts%3].Cut()
		}
		select {
		case <-deadline:
			t.Fatalf("not settled:\n%s", st.Plan)
		case <-time.After(300 * time.Millisecond):
		}
		st, err = b.Status(t.Context(), "main")
		must(t, err)
	}
	for _, n := range st.Nodes {
		if n.Transport != "ssh" || n.Member == nil || !n.Member.Healthy {
			t.Errorf("%+v", n)
		}
	}
}

func first(servers []*sshtest.Server) *sshtest.Server {
	if len(servers) == 0 {
		return nil
	}
	return servers[0]
}
