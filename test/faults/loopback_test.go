// Package faults breaks machines and operates their cluster while clients use it,
// and judges what the clients saw.
package faults

import (
	"context"
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
	in, addresses := onLoopback(t)
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

// TestWhatACompactionKeepsFromAllWatches is lawful, as etcd has it: nothing is found,
// and they and the log say what they were not told.
func TestWhatACompactionKeepsFromAllWatches(t *testing.T) {
	in, addresses := onLoopback(t)
	rec := history.NewRecorder(0)
	c := startClients(t, in, rec, addresses...)
	c.served(10)
	c.gate.close()
	c.served(20)
	c.compact()
	c.gate.open()
	c.served(10)
	h := c.finish()
	h.Compactions = c.compactions

	for _, v := range history.Check(h, history.Limits{InWindow: 10, PerClient: 20, Told: 0.3, Known: 0.3}, 2*time.Minute) {
		t.Error(v)
	}
	for _, w := range h.Watches {
		if len(w.Gaps) == 0 {
			t.Errorf("%s was told everything", w)
		}
	}
	if len(h.Holes) == 0 {
		t.Error("the log is whole")
	}
	t.Log(history.Summary(h))
	h.Compactions = nil
	if found := history.Check(h, history.Limits{}, 2*time.Minute); len(found) < 1+len(h.Watches) {
		t.Errorf("all were cut off, and with nobody having compacted that is: %v", found)
	}
}

// compact drops all history.
func (c *clients) compact() {
	c.t.Helper()
	root := c.root()
	c.in.Eventually("the history is dropped", func() error {
		ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
		defer cancel()
		resp, err := root.Get(ctx, logPrefix)
		if err != nil {
			return err
		}
		upTo := resp.Header.Revision
		c.compactions = append(c.compactions, history.Gap{From: upTo, To: upTo})
		_, err = root.Compact(ctx, upTo)
		return err
	})
}

// onLoopback is a cluster of three.
func onLoopback(t *testing.T) (in *drive.Installation, addresses []string) {
	t.Helper()
	in = drive.New(t, "interval: 2s\n")
	t.Cleanup(in.EndMembers)
	in.Start()
	network := drive.FreeNet(t)
	yaml := "name: main\nnodes:\n"
	for i := 1; i <= 3; i++ {
		addresses = append(addresses, fmt.Sprintf("%s%d", network, i))
		yaml += fmt.Sprintf("  - {address: %s%d, hostname: cp%d, control_plane: true}\n", network, i, i)
	}
	in.Set(yaml + "etcd: {quota: 256MiB}\npreflight: {max_fsync: 10s}\n")
	return in, addresses
}
