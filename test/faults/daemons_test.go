package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/test/drive"
	"cke/test/faults/schedule"
)

// daemons are two cke with one store, for the same machines.
type daemons struct {
	t     *testing.T
	two   [2]*drive.Installation
	front *drive.Installation // both, as ckecli finds them
	store *drive.Store
}

// newDaemons prepares them, with the same key, programs and identity.
func newDaemons(t *testing.T) *daemons {
	t.Helper()
	d := &daemons{t: t, store: drive.NewStore(t, 1, "127.0.0.1")}
	first := drive.New(t, "")
	dir := filepath.Join(first.Dir, "second")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d.two = [2]*drive.Installation{first, first.At(dir)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the second daemon's log:\n%s", drive.LastLines(d.two[1].Log, 80))
		}
		d.two[1].Kill()
	})
	front := *first
	d.front = &front
	d.ask(0, 1)
	return d
}

// ask has ckecli know these daemons.
func (d *daemons) ask(which ...int) {
	var servers []string
	for _, i := range which {
		servers = append(servers, d.two[i].Socket())
	}
	d.front.Servers = strings.Join(servers, ",")
}

// start has both run.
func (d *daemons) start(identity string) {
	d.t.Helper()
	for i, in := range d.two {
		in.Write("config.yml", fmt.Sprintf(`data_dir: %[2]s/state
key_file: %[1]s/seal.key
socket: %[2]s/cke.sock
local: {root: %[2]s/nodes, releases: %[1]s/releases}
ssh: {identity: %[3]s}
interval: 2s
%[4]s`, d.two[0].Dir, in.Dir, identity, d.store.Config()))
		d.run(i)
	}
	d.leader()
}

func (d *daemons) run(i int) {
	d.t.Helper()
	if !d.two[i].Start() {
		d.t.Fatalf("cke %d does not start:\n%s", i, drive.LastLines(d.two[i].Log, 20))
	}
}

// leader waits until one of them leads, and is who.
func (d *daemons) leader() int { return d.leaderOf(0, 1) }

func (d *daemons) leaderOf(which ...int) int {
	d.t.Helper()
	found := -1
	d.front.Eventually("a cke leads", func() error {
		var errs []error
		for _, i := range which {
			if err := d.leads(i); err != nil {
				errs = append(errs, err)
				continue
			}
			found = i
			return nil
		}
		return errors.Join(errs...)
	})
	return found
}

// leads says why a daemon does not, or does not act as a leader yet.
func (d *daemons) leads(i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	l, err := d.two[i].Client().Leader(ctx)
	if err == nil && !l.Self {
		err = fmt.Errorf("cke %d says that pid %d leads", i, l.PID)
	}
	if err == nil {
		_, err = d.two[i].Client().Clusters(ctx)
	}
	return err
}

// suffer has the daemons go through it, until one leads again.
func (d *daemons) suffer(what schedule.Daemons) {
	d.t.Helper()
	switch what {
	case schedule.Left:
		return
	case schedule.KillLeader:
		i := d.leader()
		d.two[i].Kill()
		d.run(i)
	case schedule.EndLeader:
		i := d.leader()
		if state := d.two[i].Stop(); !state.Success() {
			d.t.Errorf("the leader ends with %s", state)
		}
		d.run(i)
	case schedule.FreezeLeader:
		d.freeze(d.leader())
	case schedule.KillBoth:
		for _, in := range d.two {
			in.Kill()
		}
		for i := range d.two {
			d.run(i)
		}
	case schedule.KillStore:
		d.store.Kill(0)
		d.store.Start(0)
		d.store.Serves()
	default:
		d.t.Fatalf("nobody knows how to do this: %s", what)
	}
	d.leader()
}

// freeze stops a daemon until the other leads. Woken, it finds that out, and follows.
func (d *daemons) freeze(i int) {
	d.t.Helper()
	d.ask(1 - i)
	d.signal(i, syscall.SIGSTOP)
	d.leaderOf(1 - i)
	d.signal(i, syscall.SIGCONT)
	d.front.Eventually("the woken cke follows", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		l, err := d.two[i].Client().Leader(ctx)
		if err == nil && l.Self {
			err = errors.New("it takes itself for the leader")
		}
		return err
	})
	d.ask(0, 1)
}

func (d *daemons) signal(i int, s syscall.Signal) {
	d.t.Helper()
	if err := syscall.Kill(d.two[i].PID(), s); err != nil {
		d.t.Fatal(err)
	}
}
