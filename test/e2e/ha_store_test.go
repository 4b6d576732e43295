package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/test/drive"
)

// TestStoreDown takes the store away: the cluster serves on untouched, cke says
// what is wrong and touches nothing, and goes on once the store is back.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	p.start()
	p.set(1, 2, 3)
	p.CLI("etcd", "user-add", "app", "/app/")
	load := p.startLoad(1, 2, 3)
	before := p.members()
	for _, away := range []struct {
		how        string
		take, give func()
	}{
		{"silent", func() { p.etcd.Signal(syscall.SIGSTOP) }, func() { p.etcd.Signal(syscall.SIGCONT) }},
		{"dead", func() { p.etcd.Kill(0) }, func() { p.etcd.Start(0) }},
	} {
		away.take()
		for i := range p.two {
			p.follows(i)
			p.two[i].CLIFails(4, []string{"status"}, "error: ", "etcd that keeps cke's state", "hint: ")
			p.two[i].CLIFails(4, []string{"leader"}, "error: ", "hint: ")
		}
		load.Wrote(20)
		away.give()
		p.Eventually("one leads again", func() error {
			r := p.asks(p.server(0)+","+p.server(1), "status")
			if r.Code != 0 {
				return errors.New(r.Stderr)
			}
			return nil
		})
		if after := p.members(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("store %s: members %v, were %v", away.how, after, before)
		}
	}
	file := p.Write("cluster.yml", p.clusterYAML(1, 2, 3, 4))
	if r := p.asks(p.server(0)+","+p.server(1), "cluster", "set", file, "--wait"); r.Code != 0 {
		t.Errorf("set once it is back: %+v", r)
	}
	load.Finish(100)
}

// TestLeaderCutFromTheStore cuts the leader off in the middle of a change, while
// it still reaches every member: it stops before the next one begins.
func TestLeaderCutFromTheStore(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	wire := drive.NewWire(t, p.etcd.Endpoints()[0])
	p.Write("config.yml", strings.Replace(p.read("config.yml"), p.etcd.Config(), p.etcd.Config(wire.URL), 1))
	outcomes := p.Dir + "/outcomes"
	p.StartWith([]string{"CKE_EFFECT_OUTCOMES=" + outcomes})
	p.leads(0)
	p.two[1].Start()
	p.set(1, 2, 3)
	p.begin(0, 1, 2, 3, 4)
	p.Eventually("the change has begun", func() error {
		l := lines(t, outcomes)
		if !slices.ContainsFunc(l, func(o string) bool { return strings.HasPrefix(o, "add-learner") }) {
			return fmt.Errorf("it is at %s", l[len(l)-1])
		}
		return nil
	})
	wire.Cut()
	took := p.leads(1)
	done := len(lines(t, outcomes))
	t.Logf("another leads %s after the cut", took.Round(time.Millisecond))
	p.follows(0)
	p.two[1].OnlyMembersAre("cp1", "cp2", "cp3", "cp4")
	if more := lines(t, outcomes)[done:]; len(more) > 0 {
		t.Errorf("the daemon that was cut off went on: %q", more)
	}
	wire.Join()
	p.two[1].Stop()
	p.leads(0)
	p.OnlyMembersAre("cp1", "cp2", "cp3", "cp4")
	p.NeverBelowQuorum()
}

// TestStoreMoved takes a cluster from a daemon with a store of its own to two with
// one elsewhere. The first daemon, brought back by mistake, changes nothing.
func TestStoreMoved(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	shared := p.read("config.yml")
	own := strings.Replace(shared, p.etcd.Config(), "", 1)
	p.Write("config.yml", own)
	p.Start()
	p.set(1, 2, 3)
	p.CLI("etcd", "user-add", "app", "/app/")
	backup := filepath.Join(p.Dir, "cke.state")
	p.CLI("state", "backup", backup)
	p.Stop()
	before := p.members()

	config := p.Write("config.yml", shared)
	p.Says("beside its own store", p.daemonFails(1, "--config", config),
		"holds a store of cke's own", "hint: to take its state along", "ckecli state backup", "--restore-state")
	state := filepath.Join(p.Dir, "state", "store")
	must(t, os.Rename(state, state+".moved"))
	p.Start("--restore-state", backup)
	p.leads(0)
	p.two[1].Start()
	p.OnlyMembersAre("cp1", "cp2", "cp3")
	if after := p.members(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("members %v, were %v", after, before)
	}
	p.Says("users", p.CLI("etcd", "user-list"), "app")
	// A second restore, into a store that is there, is refused.
	p.two[1].Stop()
	p.Says("restored twice", p.daemonFails(1, "--config", filepath.Join(p.two[1].Dir, "config.yml"), "--restore-state", backup),
		"exists already", "hint: to go on with the store that is there")
	p.two[1].Start()
	p.Kill()
	p.leads(1)
	p.two[1].set(1, 2, 4)
	// And its backup is one that a store of its own can begin from.
	p.two[1].CLI("state", "backup", backup+".2")

	p.Write("config.yml", own)
	must(t, os.Rename(state+".moved", state))
	members := p.members()
	p.Start()
	p.blocked("newerLeaderActs")
	if after := p.members(); fmt.Sprint(after) != fmt.Sprint(members) {
		t.Errorf("members %v, were %v", after, members)
	}
	p.two[1].OnlyMembersAre("cp1", "cp2", "cp4")
}

// TestThreeMemberStore kills the store's members one after another, its leader
// among them: cke goes on.
func TestThreeMemberStore(t *testing.T) {
	t.Parallel()
	p := newPair(t, 3)
	p.start()
	p.set(1, 2, 3)
	for i := range 3 {
		p.etcd.Kill(i)
		p.Eventually("one of the two answers", func() error {
			r := p.asks(p.server(0)+","+p.server(1), "cluster", "set", p.Write("cluster.yml", p.clusterYAML(1, 2, 3, 4+i)), "--wait")
			if r.Code != 0 {
				return errors.New(r.Stderr)
			}
			return nil
		})
		p.etcd.Start(i)
		p.etcd.Serves()
	}
	c, err := api.NewClient(p.server(1)+","+p.server(0), api.ClientTLS{})
	must(t, err)
	p.Eventually("the cluster is settled", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s, err := c.Status(ctx, "main")
		if err == nil && (!s.Settled || s.SpecRevision == 0) {
			err = fmt.Errorf("revision %d, plan:\n%s", s.SpecRevision, s.Plan)
		}
		return err
	})
	p.Eventually("one says who leads", func() error {
		l, err := c.Leader(t.Context())
		if err == nil {
			t.Logf("after each of three members was killed once the epoch is %d", l.Epoch)
		}
		return err
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *pair) read(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.Dir, name))
	must(p.t, err)
	return string(b)
}

// TestTermsLeaveNothing takes the lead from a daemon again and again: each time it
// stands in line anew, and no connection or file of an earlier term stays open.
func TestTermsLeaveNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, 1)
	p.Start()
	p.set(1)
	store := p.etcd.Connect()
	open := func() int {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
		must(t, err)
		return len(files)
	}
	c := p.Client() // one, for its connection is the daemon's too
	epoch, before := int64(0), 0
	for round := range 12 {
		if 2 <= round && round < 6 { // by then everything was used once, though not always at the same time
			before = max(before, open())
		}
		ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
		line, err := store.Get(ctx, "/cke/leaders/", clientv3.WithPrefix())
		must(t, err)
		for _, kv := range line.Kvs {
			if _, err := store.Revoke(ctx, clientv3.LeaseID(kv.GetLease())); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
				must(t, err) // else it has let it go itself
			}
		}
		cancel()
		p.Eventually("it leads again", func() error {
			l, err := c.Leader(t.Context())
			if err == nil && (!l.Self || l.Epoch == epoch) {
				err = fmt.Errorf("epoch %d", l.Epoch)
			}
			if err != nil {
				return err
			}
			s, err := c.Status(t.Context(), "main")
			if err == nil && !s.Settled {
				err = errors.New("not settled")
			}
			if err == nil {
				epoch = l.Epoch
			}
			return err
		})
	}
	if epoch < 12 {
		t.Errorf("the epoch is %d after 12 terms", epoch)
	}
	p.Eventually("what earlier terms had open is closed", func() error {
		if now := open(); now > before+4 {
			return fmt.Errorf("%d files are open, were %d", now, before)
		}
		return nil
	})
}
