package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
)

// corrupt changes a value in the database of a stopped member, as a disk would.
func (e *env) corrupt(node, was string) {
	e.t.Helper()
	found, err := filepath.Glob(filepath.Join(e.Dir, "nodes", node, "var/lib/cke/etcd/main/*/member/snap/db"))
	if err != nil || len(found) != 1 {
		e.t.Fatalf("the database of %s: %v, %v", node, found, err)
	}
	db, err := bolt.Open(found[0], 0o600, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	changed := 0
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		other := strings.ToUpper(was)
		put := map[string][]byte{}
		if err := b.ForEach(func(k, v []byte) error {
			if bytes.Contains(v, []byte(was)) {
				put[string(k)] = bytes.ReplaceAll(bytes.Clone(v), []byte(was), []byte(other))
			}
			return nil
		}); err != nil {
			return err
		}
		for k, v := range put {
			if err := b.Put([]byte(k), v); err != nil {
				return err
			}
			changed++
		}
		return nil
	})
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err != nil || changed == 0 {
		e.t.Fatalf("corrupt %s: %d values, %v", node, changed, err)
	}
}

// stopMember ends a node's member as systemd would: what it holds is on its disk.
func (e *env) stopMember(node string) {
	e.t.Helper()
	pid, ok := e.members()[node]
	if !ok {
		e.t.Fatalf("no member runs on %s", node)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		e.t.Fatal(err)
	}
	e.gone(pid)
}

// putAll writes keys.
func (e *env) putAll(c *clientv3.Client, n int, value string) {
	e.t.Helper()
	for i := range n {
		e.ask("write a value", func(ctx context.Context) error {
			_, err := c.Put(ctx, fmt.Sprintf("/app/%d", i), value)
			return err
		})
	}
}

// isRebuilt checks that a node carries another member now, with the data moved
// aside, and that no member holds what was corrupted.
func (e *env) isRebuilt(node cluster.NodeName, before cluster.MemberID, value string) {
	e.t.Helper()
	e.Until(string(node)+" is rebuilt", func(s api.Status) error {
		for _, n := range s.Nodes {
			if n.Hostname == node && (n.Member == nil || n.Member.ID == before) {
				return fmt.Errorf("%s carries %+v", node, n.Member)
			}
		}
		if len(s.Alarms) > 0 || !s.Settled {
			return fmt.Errorf("alarms %v", s.Alarms)
		}
		return nil
	})
	e.onlyMembersAre(1, 2, 3)
	if _, aside := e.dataDirs(string(node)); len(aside) != 1 {
		e.t.Errorf("set aside on %s: %v", node, aside)
	}
	cert := e.UserCert("app")
	for i := range 3 {
		c := e.connect(cert, i+1)
		e.ask("read what was corrupted", func(ctx context.Context) error {
			r, err := c.Get(ctx, "/app/3", clientv3.WithSerializable())
			if err == nil && (len(r.Kvs) != 1 || string(r.Kvs[0].Value) != value) {
				e.t.Errorf("cp%d says %v", i+1, r.Kvs)
			}
			return err
		})
	}
	if n := e.CountSteps(plan.RemoveMember); n != 1 {
		e.t.Errorf("%d members were removed, want one", n)
	}
}

// TestCorruptMemberIsRebuilt: its disk has changed what it holds; etcd refuses to
// start on that, and CKE rebuilds it from the others.
func TestCorruptMemberIsRebuilt(t *testing.T) {
	t.Parallel()
	e, app := newEtcdCluster(t, "quota: 512MiB", 1, 2, 3)
	e.putAll(app, 20, "some-value")
	before := e.MemberID("cp2")
	e.Kill()
	e.stopMember("cp2")
	e.corrupt("cp2", "some-value")
	e.Start()
	e.isRebuilt("cp2", before, "some-value")
	e.Says("history", e.CLI("history", "-n", "40"), "it found so itself and does not start")
}

// startsUnasked starts the daemon, and with it a stopped member, which holds other data
// than the rest: while it cannot ask the others it starts.
func (e *env) startsUnasked(node string) {
	e.t.Helper()
	others := e.members()
	signal := func(sig syscall.Signal) {
		for _, pid := range others {
			if err := syscall.Kill(pid, sig); err != nil {
				e.t.Fatal(err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			signal(syscall.SIGCONT)
		}
	}
	e.t.Cleanup(resume)
	log := filepath.Join(e.Dir, "nodes", node, "var/lib/cke/host/etcd/main/log/etcd.log")
	before, err := os.ReadFile(log) // of its last start
	if err != nil {
		e.t.Fatal(err)
	}
	e.Start()
	e.Eventually(node+" has not found out", func() error {
		b, err := os.ReadFile(log)
		if err == nil && !bytes.Contains(bytes.TrimPrefix(b, before), []byte("initial corruption checking passed")) {
			err = errors.New("it has not begun")
		}
		return err
	})
	resume()
}

// TestAlarmCorrupt: a member holds other data and runs; etcd raises the alarm and
// refuses every write. CKE finds the member by its hash, takes it out and disarms.
func TestAlarmCorrupt(t *testing.T) {
	t.Parallel()
	e, app := newEtcdCluster(t, "quota: 512MiB, extra_args: {compact-hash-check-time: 1s}", 1, 2, 3)
	e.putAll(app, 20, "some-value")
	before := e.MemberID("cp3")
	e.Kill()
	e.stopMember("cp3")
	e.corrupt("cp3", "some-value")
	e.startsUnasked("cp3")
	root := e.connect(e.RootCert(), 1, 2)
	e.Eventually("etcd compares what it compacts", func() error {
		if e.CountSteps(plan.RemoveMember) > 0 {
			return nil
		}
		return e.try(func(ctx context.Context) error {
			r, err := app.Put(ctx, "/app/more", "1")
			if err != nil {
				return fmt.Errorf("put: %w", err)
			}
			if _, err := root.Compact(ctx, r.Header.Revision-1); err != nil {
				return err
			}
			return errors.New("no alarm yet")
		})
	})
	e.isRebuilt("cp3", before, "some-value")
	put(t, e, e.UserCert("app"), "/app/after", "1")
	if n := e.CountSteps(plan.DisarmAlarm); n != 1 {
		t.Errorf("disarmed %d times", n)
	}
}
