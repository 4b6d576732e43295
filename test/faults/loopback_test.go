// Package faults breaks machines and operates their cluster while clients use it,
// and judges what the clients saw.
package faults

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/test/drive"
	"cke/test/faults/history"
)

// TestTheClientsThemselves are right: with no fault but a member that is killed,
// on loopback, they do everything they are to do, and nothing is found.
func TestTheClientsThemselves(t *testing.T) {
	in := drive.New(t, "interval: 2s\n")
	t.Cleanup(func() { endMembers(t, in) })
	in.Start()
	network := freeNet(t)
	var addresses []string
	yaml := "name: main\nnodes:\n"
	for i := 1; i <= 3; i++ {
		addresses = append(addresses, fmt.Sprintf("%s%d", network, i))
		yaml += fmt.Sprintf("  - {address: %s%d, hostname: cp%d, control_plane: true}\n", network, i, i)
	}
	in.Set(yaml + "etcd: {quota: 256MiB}\npreflight: {max_fsync: 10s}\n")

	rec := history.NewRecorder(0)
	c := startClients(t, in, rec, addresses...)
	c.served(10)
	from := rec.Now()
	if err := syscall.Kill(membersOf(t, in)[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.served(30)
	rec.Window(history.Window{Name: "with one killed", From: from, To: rec.Now()})
	h := c.finish()

	for _, v := range history.Check(h, history.Limits{InWindow: 10, PerClient: 20, Refusals: 1}, 2*time.Minute) {
		t.Error(v)
	}
	done := map[history.Kind]int{}
	for _, o := range h.Ops {
		if o.Outcome == history.OK {
			done[o.Kind]++
		}
	}
	for _, k := range []history.Kind{history.Put, history.Get, history.CAS, history.Delete, history.Grant, history.KeepAlive} {
		if done[k] == 0 {
			t.Errorf("no %s was answered", k)
		}
	}
	t.Log(history.Summary(h))
}

// freeNet picks a loopback /24 on which nobody listens at the members' ports.
func freeNet(t *testing.T) string {
	t.Helper()
	for range 50 {
		n := fmt.Sprintf("127.%d.%d.", 20+rand.IntN(200), 1+rand.IntN(250))
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

// membersOf are the pids of an installation's members on this machine.
func membersOf(t *testing.T, in *drive.Installation) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range all {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte("--data-dir="+in.Dir+"/nodes/")) {
			continue // it has ended, or is somebody else's
		}
		pid, err := strconv.Atoi(strings.Split(file, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func endMembers(t *testing.T, in *drive.Installation) {
	in.Kill() // it would start them again
	for _, pid := range membersOf(t, in) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
	}
}
