// Package faults breaks machines and operates their cluster while clients use it,
// and judges what the clients saw.
package faults

import (
	"fmt"
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
	t.Cleanup(in.EndMembers)
	in.Start()
	network := drive.FreeNet(t)
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
	pid, ok := in.Members()["cp1"]
	if !ok {
		t.Fatal("no member runs on cp1")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
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
