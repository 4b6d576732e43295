package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	cke     *daemons
	in      *drive.Installation // both of them
	lab     *lab.Lab
	rec     *history.Recorder
	look    *drive.Lookout
	clients *clients
	keys    map[int]string // host keys, by machine
	seed    uint64
	began   time.Time

	nodes    []int // wanted now
	lines    []string
	faults   map[schedule.Fault]int
	ops      map[schedule.Operation]int
	suffered map[schedule.Daemons]int
	outages  []outage
	changed  int  // values in the database that was changed last
	alarmed  bool // for which etcd raised an alarm
	records  map[int64]record.Record

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
		suffered: map[schedule.Daemons]int{},
		records:  map[int64]record.Record{},
	}
	t.Logf("CKE_FAULTS_SEED=%d repeats this schedule", r.seed)
	r.cke = newDaemons(t)
	r.in = r.cke.front
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
	r.cke.start(r.lab.KeyFile())
	r.in.Set(r.yaml(schedule.Spec{Nodes: r.nodes}))
	var addresses []string
	for _, m := range r.lab.Machines() {
		addresses = append(addresses, m.Addr().String())
	}
	r.rec, r.look = history.NewRecorder(r.seed), r.in.LookOut()
	r.t.Cleanup(r.save)
	r.clients = startClients(r.t, r.in, r.rec, addresses...)
	r.clients.rest.Go(r.lookOn)
	r.settled()
}

// lookOn notes who votes, until the clients end.
func (r *run) lookOn() {
	c := r.clients.all[0].mark
	for {
		asked := time.Now()
		ctx, cancel := context.WithTimeout(r.clients.ctx, callTimeout)
		resp, err := c.MemberList(ctx)
		cancel()
		if err == nil {
			r.saw(asked, resp)
		}
		select {
		case <-r.clients.ctx.Done():
			return
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (r *run) saw(asked time.Time, resp *clientv3.MemberListResponse) {
	v := voters{asked: asked, at: time.Now(), nodes: map[cluster.MemberID]string{}}
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
	r.changed, r.alarmed = 0, false
	rebooted := r.reboots()
	victim, other := r.victim(round)
	round.Other = slices.Index(r.lab.Machines(), other) + 1 // maintenance is never of the victim
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
	if round.Fault.Refuses() {
		r.clients.keepLog() // before it is compacted
	}
	suffers := time.Now()
	if round.Daemons != schedule.Left {
		r.wait(round.After)
		r.cke.suffer(round.Daemons)
	}
	serving := time.Now()
	switch {
	case round.Fault.Refuses():
		r.clients.reads(2)
	case !round.Fault.Outage():
		r.window(fmt.Sprintf("in round %d", round.N), 2)
	}
	shown := time.Now()
	switch {
	case round.Fault == schedule.Overfull:
		r.until("status says that the data is too much", nil, func(s api.Status, _ []cluster.NodeName) error {
			if slices.ContainsFunc(s.Plan.Reasons, func(r plan.Reason) bool { return r.Rule == "liveDataExceedsQuota" }) {
				return nil
			}
			return fmt.Errorf("alarms %v\n%s", s.Alarms, s.Plan)
		})
	case round.Fault == schedule.Dead:
		r.until("the dead member is replaced", round.Spec.Nodes, membersAre)
	case round.Fault.Silences():
		r.until("status shows the fault", nil, func(s api.Status, _ []cluster.NodeName) error {
			// An operation may have taken the victim's member out just before.
			if !s.Healthy || !carries(s, victim.Name()) && !round.Fault.Outage() {
				return nil
			}
			if early, err := r.endedEarly(round.Fault, victim); early || err != nil {
				return err
			}
			return fmt.Errorf("it says that all is well")
		})
	}
	held := time.Now()
	r.wait(max(0, round.Hold-time.Since(broken)))
	if early, err := r.endedEarly(round.Fault, victim); err != nil {
		t.Error(err)
	} else if !early {
		r.noteOutage(round, victim, other, broken)
	}
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
		r.set(r.yaml(round.Spec))
	}
	if round.Operation == schedule.Restart { // a status may be of before it was asked for
		r.in.Within(settling, "the machine was rebooted", func() error {
			r.collect()
			if r.reboots() == rebooted {
				return fmt.Errorf("%d reboots are over, all of them before", rebooted)
			}
			return nil
		})
	}
	r.settled()
	r.untouched(round, victim, before)
	r.collect()
	r.disarmed(round, began)
	r.clients.keepLog()
	r.faults[round.Fault]++
	r.suffered[round.Daemons]++
	r.ops[round.Operation]++
	tenths := func(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
	line := fmt.Sprintf("%s: asked %s, cke back %s, served %s, shown %s, healing %s; broken %s, settled %s after, %s in all", round,
		tenths(took), tenths(serving.Sub(suffers)), tenths(shown.Sub(serving)), tenths(held.Sub(shown)), tenths(healed.Sub(healing)),
		tenths(healed.Sub(broken)), tenths(time.Since(healed)), tenths(time.Since(began)))
	r.lines = append(r.lines, line)
	t.Log(line)
}

// spare gives the cluster a machine more, for the place of one that will be dead.
func (r *run) spare(round schedule.Round) {
	r.t.Helper()
	now := round.Spec
	now.Nodes = r.nodes
	r.set(r.yamlWithSpare(now, round.Spare))
	r.settled()
}

// set puts a cluster.yml. Who leads may change at any time, without the suite's doing.
func (r *run) set(yaml string) {
	r.t.Helper()
	r.in.Eventually("cluster.yml is accepted", func() error { return r.cli("cluster", "set", r.in.Write("cluster.yml", yaml)) })
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
