package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
	"cke/test/drive"
	"cke/test/faults/history"
	"cke/test/faults/schedule"
	"cke/test/lab"
)

const (
	machines = 5 // the first three found the cluster
	founders = 3
	// settling bounds how long a cluster takes to be whole again; a member that lost
	// its data comes back through two membership changes.
	settling = 4 * time.Minute
)

// run is one run: machines, an installation, clients, and what was done to them.
type run struct {
	t       *testing.T
	in      *drive.Installation
	lab     *lab.Lab
	rec     *history.Recorder
	clients *clients
	keys    map[int]string // host keys, by machine
	seed    uint64
	began   time.Time

	nodes   []int // wanted now
	lines   []string
	faults  map[schedule.Fault]int
	ops     map[schedule.Operation]int
	outages []outage
	records map[int64]record.Record

	mu   sync.Mutex
	seen []voters
}

// TestFaults breaks machines and operates their cluster while tenants use it, as a
// seed has it, and judges what they saw. Each kind of fault and of operation comes
// up once; with CKE_FAULTS_FOR=1h, or in the long form, as often as there is time.
func TestFaults(t *testing.T) {
	r := newRun(t, machines, "go.etcd.io/etcd/server/v3")
	r.start()
	s := schedule.New(r.seed, machines, founders)
	limit, timed := duration(t)
	for n := 0; ; n++ {
		if timed && time.Since(r.began) > limit || !timed && n == schedule.Pass() {
			break
		}
		r.round(s.Next())
	}
	r.judge()
}

// duration is how long rounds are begun; without one, one pass is made.
func duration(t *testing.T) (time.Duration, bool) {
	t.Helper()
	text := os.Getenv("CKE_FAULTS_FOR")
	if text == "" {
		return 30 * time.Minute, drive.Long()
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("CKE_FAULTS_FOR: %v", err)
	}
	return d, true
}

func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("CKE_FAULTS_SEED")
	if text == "" {
		text = strconv.FormatInt(time.Now().UnixMicro(), 10)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("CKE_FAULTS_SEED: %v", err)
	}
	return n
}

// newRun boots machines for a cluster of this etcd.
func newRun(t *testing.T, machines int, program string) *run {
	t.Helper()
	if why := lab.Unable(); why != "" {
		t.Skip(why) // before a long build
	}
	r := &run{
		t: t, seed: seed(t), keys: map[int]string{}, faults: map[schedule.Fault]int{}, ops: map[schedule.Operation]int{},
		records: map[int64]record.Record{},
	}
	t.Logf("CKE_FAULTS_SEED=%d repeats this schedule", r.seed)
	r.in = drive.New(t, "")
	// Clocks can be shifted only for a program that was built for it.
	etcd := filepath.Join(r.in.Dir, "releases", "v"+cluster.DefaultVersion, "etcd")
	if err := os.Remove(etcd); err != nil {
		t.Fatal(err)
	}
	lab.BuildSkewable(t, etcd, program)
	r.lab = lab.Start(t, machines, lab.DataDisk("1G")) // which others may have for a while
	r.began = time.Now()
	for i := 1; i <= machines; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		key, err := r.lab.Machine(i).HostKeyFingerprint(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		r.keys[i] = key
		if i <= founders {
			r.nodes = append(r.nodes, i)
		}
	}
	return r
}

// start founds the cluster and sets the clients to work.
func (r *run) start() {
	r.t.Helper()
	r.in.Write("config.yml", fmt.Sprintf(`data_dir: %[1]s/state
key_file: %[1]s/seal.key
socket: %[1]s/cke.sock
local: {root: %[1]s/nodes, releases: %[1]s/releases}
ssh: {identity: %[2]s}
interval: 2s
`, r.in.Dir, r.lab.KeyFile()))
	r.in.Start()
	r.in.Set(r.yaml(schedule.Spec{Nodes: r.nodes}))
	var addresses []string
	for _, m := range r.lab.Machines() {
		addresses = append(addresses, m.Addr().String())
	}
	r.rec = history.NewRecorder(r.seed)
	r.t.Cleanup(r.save)
	r.clients = startClients(r.t, r.in, r.rec, addresses...)
	r.clients.rest.Go(r.lookOn)
	r.settled()
}

// lookOn notes who votes, until the clients end.
func (r *run) lookOn() {
	c := r.clients.all[0].mark
	for {
		ctx, cancel := context.WithTimeout(r.clients.ctx, callTimeout)
		resp, err := c.MemberList(ctx)
		cancel()
		if err == nil {
			r.saw(resp)
		}
		select {
		case <-r.clients.ctx.Done():
			return
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (r *run) saw(resp *clientv3.MemberListResponse) {
	v := voters{at: time.Now(), nodes: map[cluster.MemberID]string{}}
	for _, m := range resp.Members {
		if !m.IsLearner {
			v.nodes[cluster.MemberID(m.ID)] = m.Name
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, v)
}

// round has a fault and an operation meet, and waits until all is well again.
func (r *run) round(round schedule.Round) {
	t := r.t
	t.Helper()
	began := time.Now()
	r.window(fmt.Sprintf("before round %d", round.N), 3)
	before := r.ids()
	victim, other := r.victim(round)
	fault := r.fault(round, victim, other)
	t.Logf("%s  [%s]", round, fault.Name)
	if round.Fault == schedule.Dead {
		r.spare(round)
	}
	var err error
	var took time.Duration
	operate := func() {
		asked := time.Now()
		err = r.operate(round)
		took = time.Since(asked)
	}
	if round.First {
		operate()
		r.wait(round.Lag)
	}
	from := r.rec.Now()
	heal := r.lab.Break(t, fault)
	broken := time.Now()
	if !round.First {
		r.wait(round.Lag)
		operate()
	}
	if err != nil {
		t.Logf("asked for again later: %v", err)
	}
	killed := time.Now()
	if round.Kill > 0 {
		r.wait(round.Kill)
		r.killCKE()
	}
	serving := time.Now()
	if !round.Fault.Outage() {
		r.window(fmt.Sprintf("in round %d", round.N), 2)
	}
	shown := time.Now()
	switch {
	case round.Fault == schedule.Dead:
		r.until("the dead member is replaced", round.Spec.Nodes, membersAre)
	case round.Fault.Silences():
		r.until("status shows the fault", nil, func(s api.Status, _ []cluster.NodeName) error {
			// An operation may have taken the victim's member out just before.
			carries := slices.ContainsFunc(s.Nodes, func(n api.NodeStatus) bool {
				return n.Member != nil && n.Hostname == cluster.NodeName(victim.Name())
			})
			if s.Healthy && (carries || round.Fault.Outage()) {
				return fmt.Errorf("it says that all is well")
			}
			return nil
		})
	}
	held := time.Now()
	r.wait(max(0, round.Hold-time.Since(broken)))
	r.noteOutage(round, victim, other, broken)
	r.nodes = round.Spec.Nodes
	healing := time.Now()
	heal()
	healed := time.Now()
	if round.Fault.Stalls() {
		r.rec.Stall(history.Window{Name: fault.Name, From: from, To: r.rec.Now()})
	}
	r.in.Within(settling, "the operation is accepted", func() error {
		if err != nil {
			err = r.operate(round)
		}
		return err
	})
	if round.Fault == schedule.Dead {
		r.in.CLI("cluster", "set", r.in.Write("cluster.yml", r.yaml(round.Spec)))
	}
	if round.Operation == schedule.Restart { // a status may be of before it was asked for
		r.in.Within(settling, "the machine was rebooted", func() error {
			r.collect()
			if n := r.reboots(); n <= r.ops[schedule.Restart] {
				return fmt.Errorf("%d reboots are over", n)
			}
			return nil
		})
	}
	r.settled()
	r.untouched(round, victim, before)
	r.collect()
	r.faults[round.Fault]++
	r.ops[round.Operation]++
	tenths := func(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
	line := fmt.Sprintf("%s: asked %s, cke back %s, served %s, shown %s, healing %s; broken %s, settled %s after, %s in all", round,
		tenths(took), tenths(serving.Sub(killed)), tenths(shown.Sub(serving)), tenths(held.Sub(shown)), tenths(healed.Sub(healing)),
		tenths(healed.Sub(broken)), tenths(time.Since(healed)), tenths(time.Since(began)))
	r.lines = append(r.lines, line)
	t.Log(line)
}

// spare gives the cluster a machine more, for the place of one that will be dead.
func (r *run) spare(round schedule.Round) {
	r.t.Helper()
	now := round.Spec
	now.Nodes = r.nodes
	r.in.CLI("cluster", "set", r.in.Write("cluster.yml", r.yamlWithSpare(now, round.Spare)))
	r.settled()
}

// window waits until every client is served so often, which is checked again in
// the end.
func (r *run) window(name string, answers int) {
	r.t.Helper()
	from := r.rec.Now()
	r.clients.served(answers)
	r.rec.Window(history.Window{Name: name, From: from, To: r.rec.Now()})
}

// victim is the machine that a round breaks, and another.
func (r *run) victim(round schedule.Round) (victim, other *lab.Machine) {
	victim, other = r.lab.Machine(round.Victim), r.lab.Machine(round.Other)
	if !round.Leader {
		return victim, other
	}
	for _, n := range r.in.Status().Nodes {
		if n.Member != nil && n.Member.Leader {
			for _, m := range r.lab.Machines() {
				if m.Name() == string(n.Hostname) {
					if m == other {
						other = victim
					}
					return m, other
				}
			}
		}
	}
	return victim, other
}

func (r *run) noteOutage(round schedule.Round, victim, other *lab.Machine, from time.Time) {
	if !round.Fault.Silences() {
		return
	}
	out := []*lab.Machine{victim}
	switch round.Fault {
	case schedule.Majority:
		out = r.majority(victim, other)
	case schedule.Blackout:
		out = r.lab.Machines()
	default: // the victim alone
	}
	for _, m := range out {
		r.outages = append(r.outages, outage{m.Name(), from, time.Now()})
	}
}

// settled waits until the cluster is as the spec wants it.
func (r *run) settled() {
	r.t.Helper()
	since := time.Now()
	r.until("the cluster settles", r.nodes, func(s api.Status, want []cluster.NodeName) error {
		if s.ObservedAt.Before(since) {
			return fmt.Errorf("what is known is from %s before", since.Sub(s.ObservedAt))
		}
		if !s.Settled || !s.Healthy {
			return fmt.Errorf("settled %v, healthy %v, running %v\n%s", s.Settled, s.Healthy, s.Running, s.Plan)
		}
		if s.Reboot != nil || len(s.Drains) > 0 {
			return fmt.Errorf("maintenance goes on: %v %v\n%s", s.Reboot, s.Drains, s.Plan)
		}
		return membersAre(s, want)
	})
}

func (r *run) until(what string, nodes []int, holds func(s api.Status, want []cluster.NodeName) error) {
	r.t.Helper()
	var want []cluster.NodeName
	for _, i := range nodes {
		want = append(want, cluster.NodeName(r.lab.Machine(i).Name()))
	}
	r.in.Within(settling, what, func() error {
		s, err := r.in.Client().Status(context.Background(), "main")
		if err != nil {
			return err
		}
		return holds(s, want)
	})
}

// membersAre checks that exactly these nodes carry members, and that they serve.
func membersAre(s api.Status, want []cluster.NodeName) error {
	var got []cluster.NodeName
	for _, n := range s.Nodes {
		if n.Member == nil {
			continue
		}
		if n.Member.Learner || !n.Member.Started() || !n.Member.Healthy {
			return fmt.Errorf("%s: %+v\n%s", n.Hostname, *n.Member, s.Plan)
		}
		got = append(got, n.Hostname)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("members on %v, want %v\n%s", got, want, s.Plan)
	}
	return nil
}

// ids are the members by node.
func (r *run) ids() map[cluster.NodeName]cluster.MemberID {
	r.t.Helper()
	ids := map[cluster.NodeName]cluster.MemberID{}
	for _, n := range r.in.Status().Nodes {
		if n.Member != nil {
			ids[n.Hostname] = n.Member.ID
		}
	}
	return ids
}

// untouched checks that a node that stays has the member it had, unless its data
// is gone.
func (r *run) untouched(round schedule.Round, victim *lab.Machine, before map[cluster.NodeName]cluster.MemberID) {
	r.t.Helper()
	for node, id := range r.ids() {
		was, stayed := before[node]
		lost := round.Fault == schedule.NewDisk && string(node) == victim.Name()
		switch {
		case lost && id == was:
			r.t.Errorf("%s: %s has the member it had, and its data is gone", round, node)
		case stayed && !lost && id != was:
			r.t.Errorf("%s: %s has another member, %s in place of %s", round, node, id, was)
		}
	}
}

// collect keeps the history of CKE's, which is long.
func (r *run) collect() {
	r.t.Helper()
	for _, rec := range r.in.History() {
		r.records[rec.Seq] = rec
	}
}

// reboots is how many are over.
func (r *run) reboots() int {
	n := 0
	for _, rec := range r.records {
		if rec.Step != nil && rec.Step.Kind == plan.FinishReboot && rec.Outcome == record.Done {
			n++
		}
	}
	return n
}

// judge ends the run and checks everything.
func (r *run) judge() {
	t := r.t
	t.Helper()
	r.window("in the end", 3)
	h := r.clients.finish()
	r.collect()
	var records []record.Record
	steps := map[plan.Kind]int{}
	for _, rec := range r.records {
		records = append(records, rec)
		if rec.Step != nil && rec.Outcome == record.Done {
			steps[rec.Step.Kind]++
		}
	}
	r.mu.Lock()
	bad := belowQuorum(records, r.seen, r.outages)
	r.mu.Unlock()
	for _, b := range bad {
		t.Error(b)
	}
	dir := r.out()
	found := history.Check(h, history.Limits{InWindow: 2, PerClient: 20, Refusals: 3}, 3*time.Minute)
	for i, v := range found {
		t.Error(v)
		if v.Draw != nil {
			r.draw(filepath.Join(dir, fmt.Sprintf("violation-%d.html", i+1)), v)
		}
	}
	if len(found) > 0 {
		path := filepath.Join(dir, "history.json.gz")
		if err := h.Save(path); err != nil {
			t.Error(err)
		}
		t.Logf("the history is in %s; go run ./test/faults/judge %s judges it again", path, path)
	}
	t.Logf("%s\nrounds:\n%s\nfaults: %v\noperations: %v\nsteps of CKE's: %v\nviolations: %d of the clients' history, %d of quorum\n%s in all",
		history.Summary(h), strings.Join(r.lines, "\n"), r.faults, r.ops, steps, len(found), len(bad), time.Since(r.began).Round(time.Second))
}

// out is where what a failed run leaves is written.
func (r *run) out() string {
	r.t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("cke-faults-%d", r.seed))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	return dir
}

func (r *run) draw(path string, v history.Violation) {
	r.t.Helper()
	f, err := os.Create(path)
	if err != nil {
		r.t.Error(err)
		return
	}
	if err := v.Draw(f); err != nil {
		r.t.Error(err)
	}
	if err := f.Close(); err != nil {
		r.t.Error(err)
	}
	r.t.Logf("%s is drawn in %s", v.Check, path)
}

// save keeps what a failed run did.
func (r *run) save() {
	if !r.t.Failed() {
		return
	}
	dir := r.out()
	var b strings.Builder
	fmt.Fprintf(&b, "CKE_FAULTS_SEED=%d\n%s\n", r.seed, strings.Join(r.lines, "\n"))
	if records, err := r.in.Client().History(context.Background(), "main", 1000); err != nil {
		fmt.Fprintf(&b, "history: %v\n", err)
	} else {
		for _, rec := range records {
			fmt.Fprintln(&b, rec)
		}
	}
	if s, err := r.in.Client().Status(context.Background(), "main"); err != nil {
		fmt.Fprintf(&b, "status: %v\n", err)
	} else {
		fmt.Fprintf(&b, "%+v\n%s", s, s.Plan)
	}
	if log, err := os.ReadFile(r.in.Log); err == nil {
		fmt.Fprintf(&b, "\nlog of cke:\n%s", log)
	}
	path := filepath.Join(dir, "run.txt")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		r.t.Error(err)
	}
	r.t.Logf("what was done is in %s; CKE_FAULTS_SEED=%d repeats the schedule", path, r.seed)
}
