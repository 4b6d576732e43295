package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

// memory is a backend of the API that keeps everything in memory. A script
// says with mood what happens to a spec that is set.
type memory struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	clusters map[string]*memoryCluster
	order    []string
	mood     string
	moods    int // how often it changed
	snapshot []byte
	callers  []string
}

type memoryCluster struct {
	yaml     string
	revision int64
	users    []cluster.User
	bundles  []cluster.Bundle
	paused   *cluster.Pause
	records  []record.Record
	maintenance
	cleaned bool // the node that had left
	step    int  // how far the settling has come
}

func newMemory() *memory {
	return &memory{changed: make(chan struct{}), clusters: map[string]*memoryCluster{}}
}

func start() time.Time { return time.Date(2026, 5, 4, 3, 0, 0, 0, time.UTC) }

func (m *memory) set(mood string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = mood
	m.moods++
	m.wake()
}

func (m *memory) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// with runs fn on one cluster, as one change.
func (m *memory) with(ctx context.Context, name string, fn func(*memoryCluster) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.callers = append(m.callers, api.Caller(ctx))
	c := m.clusters[name]
	if c == nil {
		return api.NotFound(fmt.Sprintf("there is no cluster %s", name), "ckecli cluster list")
	}
	return fn(c)
}

func (c *memoryCluster) note(ctx context.Context, action string) {
	n := int64(len(c.records))
	c.records = append(c.records, record.Record{
		Seq: n, At: start().Add(time.Duration(n) * time.Minute), Cluster: "main",
		By: "tester", Action: action, Reason: "asked", Outcome: record.Done, TookMS: 5,
	})
}

func (m *memory) Clusters(context.Context) ([]api.ClusterSummary, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []api.ClusterSummary
	for _, name := range m.order {
		list = append(list, api.ClusterSummary{Name: name, Phase: cluster.PhaseBootstrapped, Healthy: true, Voters: 3, Nodes: 4})
	}
	return list, nil
}

func (m *memory) Spec(ctx context.Context, name string) (spec cluster.Spec, revision int64, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error {
		spec, revision = cluster.Spec{Name: name, Etcd: cluster.Etcd{Version: "3.7.3"}}, c.revision
		return nil
	})
	return spec, revision, err
}

func (m *memory) SpecYAML(ctx context.Context, name string) (text []byte, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error { text = []byte(c.yaml); return nil })
	return text, err
}

func (m *memory) PutSpec(ctx context.Context, file string, text []byte) (api.SpecChange, error) {
	name := ""
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "name: "); ok {
			name = strings.TrimSpace(v)
		}
	}
	if name == "" {
		return api.SpecChange{}, api.Invalid(file+":1:1: name is missing\n"+file+":1:1: nodes are missing", "nothing was changed")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clusters[name]
	change := api.SpecChange{Cluster: name, Created: c == nil}
	if c == nil {
		c = &memoryCluster{}
		m.clusters[name] = c
		m.order = append(m.order, name)
	}
	if change.Changed = c.yaml != string(text); change.Changed {
		c.revision++
		c.step = 0
	}
	if strings.Contains(string(text), "members: 2") {
		change.Warnings = []string{"2 members survive no more failures than 1"}
	}
	c.yaml, change.Revision = string(text), c.revision
	c.note(ctx, "set spec")
	m.wake()
	return change, nil
}

func (m *memory) Status(ctx context.Context, name string) (st api.Status, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error { st = m.statusOf(name, c); return nil })
	return st, err
}

func (m *memory) statusOf(name string, c *memoryCluster) api.Status {
	st := healthyStatus()
	st.Cluster, st.Plan.Cluster, st.SpecRevision, st.Paused = name, name, c.revision, c.paused
	st.Kubernetes = m.kubernetesOf(c)
	st.Drains, st.Reboot = c.drains, c.reboot
	for i := range st.Nodes {
		st.Nodes[i].Boot = c.boot
	}
	st.Plan.Reasons = append(st.Plan.Reasons, c.reasons...)
	if m.mood == "left" && !c.cleaned {
		st.Left = []api.NodeStatus{{Hostname: "old", Address: "10.77.0.9", ControlPlane: true, Left: true, Transport: "ssh", Login: "cke@10.77.0.9:22"}}
	}
	unsettle := func(reasons []plan.Reason, steps ...plan.Step) {
		st.Settled, st.Healthy = false, false
		st.Plan.Steps, st.Plan.Reasons = steps, reasons
	}
	switch {
	case c.paused != nil:
		unsettle(nil, plan.Step{Kind: plan.AddLearner, Reason: "a voter is missing"})
	case m.mood == "behind":
		st.SpecRevision--
	case m.mood == "block":
		unsettle([]plan.Reason{{
			Level: plan.Blocked, Rule: "hostIsUnknown", Node: "cp3",
			Text: "the host's key is not known", Hint: "ckecli node trust 10.77.0.13",
		}})
	case m.mood == "never":
		unsettle([]plan.Reason{{Level: plan.Waiting, Rule: "learnerCatchesUp", Node: "cp3", Text: "it is behind"}})
	case c.step == 0:
		unsettle(nil, plan.Step{Kind: plan.StartMembers, Nodes: []cluster.NodeName{"cp1", "cp2"}, Reason: "they are to run"})
	case c.step == 1:
		unsettle(nil, plan.Step{Kind: plan.ConfigureAuth, Reason: "authentication is off"})
	}
	return st
}

// WatchStatus lets the cluster take one more step with every value it sends.
func (m *memory) WatchStatus(ctx context.Context, name string, fn func(api.Status) error) error {
	// One whose command has ended may not have noticed yet: it is not the one to break.
	m.mu.Lock()
	moods := m.moods
	m.mu.Unlock()
	for {
		var st api.Status
		var changed chan struct{}
		var broken bool
		if err := m.with(ctx, name, func(c *memoryCluster) error {
			st, changed = m.statusOf(name, c), m.changed
			broken = m.mood == "break once" && m.moods == moods
			if broken {
				m.mood = ""
			}
			if c.step++; c.step < 3 {
				m.wake()
			}
			c.looked(m)
			return nil
		}); err != nil {
			return err
		}
		if err := fn(st); err != nil {
			return err
		}
		if broken {
			return errors.New("the test breaks this stream")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *memory) Plan(ctx context.Context, name string) (p plan.Plan, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error { p = m.statusOf(name, c).Plan; return nil })
	return p, err
}

func (m *memory) History(ctx context.Context, name string, n int) (list []record.Record, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error {
		list = c.records[max(0, len(c.records)-n):]
		return nil
	})
	return list, err
}

// FollowHistory ends after the records there are, on purpose.
func (m *memory) FollowHistory(ctx context.Context, name string, n int, fn func(record.Record) error) error {
	list, err := m.History(ctx, name, n)
	for _, r := range list {
		if err := fn(r); err != nil {
			return err
		}
	}
	return err
}

func (m *memory) AddUser(ctx context.Context, name string, u cluster.User) (created bool, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error {
		for _, have := range c.users {
			if have == u {
				return nil
			}
			if have.Name == u.Name {
				return api.Refused(fmt.Sprintf("user %s has prefix %s", u.Name, have.Prefix), "choose another name")
			}
		}
		c.users, created = append(c.users, u), true
		c.note(ctx, "add user "+u.Name)
		return nil
	})
	return created, err
}

func (m *memory) Users(ctx context.Context, name string) (list []cluster.User, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error { list = c.users; return nil })
	return list, err
}

func (m *memory) Members(ctx context.Context, name string) (list []cluster.Member, err error) {
	err = m.with(ctx, name, func(*memoryCluster) error {
		for _, n := range healthyStatus().Nodes {
			if n.Member != nil {
				list = append(list, *n.Member)
			}
		}
		return nil
	})
	return list, err
}

func (m *memory) IssueRoot(ctx context.Context, name string) (api.Certificate, error) {
	return m.issue(ctx, name, cluster.RootUser, 2*time.Hour)
}

func (m *memory) Issue(ctx context.Context, name, user string, ttl time.Duration) (api.Certificate, error) {
	if ttl > 30*365*24*time.Hour {
		return api.Certificate{}, api.Invalid("the CA ends before "+start().Add(ttl).Format(time.DateOnly), "choose a shorter --ttl")
	}
	return m.issue(ctx, name, user, ttl)
}

func (m *memory) issue(ctx context.Context, name, user string, ttl time.Duration) (c api.Certificate, err error) {
	err = m.with(ctx, name, func(mc *memoryCluster) error {
		known := user == cluster.RootUser
		for _, u := range mc.users {
			known = known || u.Name == user
		}
		if !known {
			return api.NotFound("there is no user "+user, "ckecli etcd user-add")
		}
		c = certificateFor(user, ttl)
		return nil
	})
	return c, err
}

func (m *memory) Snapshot(ctx context.Context, name string) (r io.ReadCloser, n int64, err error) {
	err = m.with(ctx, name, func(*memoryCluster) error {
		if m.mood == "no snapshot" {
			return api.Refused("no member serves", "ckecli status")
		}
		whole := strings.NewReader(string(m.snapshot))
		if n = whole.Size(); m.mood == "half a snapshot" {
			r = io.NopCloser(io.MultiReader(io.LimitReader(whole, n/2), failing{}))
			return nil
		}
		r = io.NopCloser(whole)
		return nil
	})
	return r, n, err
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("member went away") }

func (m *memory) Pause(ctx context.Context, name, why string) error {
	return m.with(ctx, name, func(c *memoryCluster) error {
		c.paused = &cluster.Pause{By: "tester", Why: why, At: start()}
		m.wake()
		return nil
	})
}

func (m *memory) Resume(ctx context.Context, name string) error {
	return m.with(ctx, name, func(c *memoryCluster) error { c.paused = nil; m.wake(); return nil })
}

func (m *memory) StateBackup(_ context.Context, w io.Writer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := io.WriteString(w, "the sealed state\n")
	if m.mood == "half a state" {
		err = errors.Join(err, errors.New("the store went away"))
	}
	return err
}

func (m *memory) Leader(context.Context) (api.Leader, error) {
	return api.Leader{StoreID: "5eed", Epoch: 7, Hostname: "mgmt1", PID: 42, Since: start(), Version: "1.2.3"}, nil
}
