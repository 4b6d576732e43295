package drive

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// FreeNet picks a loopback /24, such as "127.81.3.", on which nobody listens at the
// members' ports. It is this test's until it ends.
func FreeNet(t testing.TB) string {
	t.Helper()
	for range 50 {
		n := fmt.Sprintf("127.%d.%d.", 20+rand.IntN(200), 1+rand.IntN(250)) //nolint:gosec // which one is no secret
		if !claim(t, n) {
			continue
		}
		l, err := net.Listen("tcp", n+"1:2379")
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Fatal("no free loopback network found")
	return ""
}

// claim makes a name this test's until it ends, among all tests on this machine: who is
// to listen somewhere may do so only later, and it would look free to the next one.
func claim(t testing.TB, name string) bool {
	t.Helper()
	l, err := net.Listen("unix", "@cke-test-"+name)
	if err != nil {
		return false
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody connects to it
	return true
}

// FreePort picks an address with a port on which nobody listens, for a server that may
// begin later, and end and come back. The kernel gives none like it to a connection. It
// is this test's until it ends.
func FreePort(t testing.TB, address string) string {
	t.Helper()
	for range 50 {
		at := net.JoinHostPort(address, strconv.Itoa(10000+rand.IntN(20000))) //nolint:gosec // which one is no secret
		if !claim(t, at) {
			continue
		}
		l, err := net.Listen("tcp", at)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return at
	}
	t.Fatalf("no free port found at %s", address)
	return ""
}

// Members are the pids of the installation's etcd processes on this machine, by node.
func (in *Installation) Members() map[string]int {
	in.T.Helper()
	found := map[string]int{}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		in.T.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || len(b) == 0 {
			continue // it has ended
		}
		args := strings.Split(string(b), "\x00")
		if filepath.Base(args[0]) != "etcd" {
			continue
		}
		for _, a := range args {
			node, ok := strings.CutPrefix(a, "--data-dir="+in.Dir+"/nodes/")
			if !ok {
				continue
			}
			node, _, _ = strings.Cut(node, "/")
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err != nil {
				in.T.Fatal(err)
			}
			found[node] = pid
		}
	}
	return found
}

// Gone says whether a process has ended with all its threads. One that is killed loses its
// command line first, and its ports and locks only with the last thread, which on a busy
// machine or disk may take its time.
func Gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ") // etcd's name has no parenthesis
	f := strings.Fields(rest)                  // from field 3 of proc_pid_stat(5) on
	if len(f) < 18 {
		return false
	}
	state, threads := f[0], f[17]
	return (state == "Z" || state == "X") && (threads == "0" || threads == "1")
}

// EndMembers ends the daemon, which would start them again, and the members, by pid.
func (in *Installation) EndMembers() {
	in.T.Helper()
	in.Kill()
	for _, pid := range in.Members() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
	}
}
