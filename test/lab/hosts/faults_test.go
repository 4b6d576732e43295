package hosts

import (
	"fmt"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/plan"
	"cke/test/lab"
)

// statusWithin is how long ckecli status may take, whatever a machine does.
const statusWithin = 5 * time.Second

// TestFaultsUnderLoad breaks one machine after the other while a tenant writes.
// Writes go on, CKE answers, the cluster is whole again by itself after each
// fault, and nobody's membership was touched.
func TestFaultsUnderLoad(t *testing.T) {
	e := newEnv(t, 3, lab.DataDisk("1G"))
	e.etcd = ", replace_after: 5m"
	e.Start()
	e.Set(e.yaml(1, 2, 3))
	w := e.tenant(false, 1, 2, 3)
	before := e.Settled()
	w.Wrote(50)
	for i, fault := range []struct {
		make func(*lab.Machine) lab.Fault
		last time.Duration
	}{
		{lab.Stall, 10 * time.Second},
		{func(m *lab.Machine) lab.Fault { return lab.StallProcess(m, "^/opt/cke/etcd/.*--name=h") }, 4 * time.Second},
		{lab.DiskHang, 4 * time.Second},
		{func(m *lab.Machine) lab.Fault { return lab.SlowDisk(m, 20) }, 4 * time.Second},
		{func(m *lab.Machine) lab.Fault { return lab.Loss(m, 20) }, 4 * time.Second},
		{func(m *lab.Machine) lab.Fault { return lab.Delay(m, 50*time.Millisecond, 0) }, 4 * time.Second},
		{lab.EtcdBlocked, 4 * time.Second},
		{lab.Cut, 4 * time.Second},
		{e.apart, 4 * time.Second},
	} {
		e.suffers(w.Wrote, fault.make(e.lab.Machine(1+i%3)), fault.last)
	}
	w.Finish(500)
	for i, n := range e.Settled().Nodes {
		if was := before.Nodes[i].Member.ID; n.Member.ID != was {
			t.Errorf("the member on %s is %s, was %s", n.Hostname, n.Member.ID, was)
		}
	}
	for _, k := range []plan.Kind{plan.RemoveMember, plan.AddLearner, plan.PromoteLearner} {
		if n := e.CountSteps(k); n != 0 {
			t.Errorf("%d times %s", n, k)
		}
	}
}

// apart is a machine that the others do not reach, and the box does.
func (e *env) apart(m *lab.Machine) lab.Fault {
	return lab.Partition([]lab.Node{m}, e.lab.Rest(m, e.lab.Box()))
}

// suffers has a fault last for a while, and waits until the cluster is whole.
func (e *env) suffers(wrote func(more int), f lab.Fault, last time.Duration) {
	e.t.Helper()
	began := time.Now()
	heal := e.lab.Break(e.t, f)
	over := time.NewTimer(last)
	defer over.Stop()
	var slowest time.Duration
	for ended := false; !ended; {
		took := e.asksStatus()
		if took > statusWithin { // once it may be the box that stood still
			took = min(took, e.asksStatus())
		}
		slowest = max(slowest, took)
		if took > statusWithin {
			e.t.Errorf("%s: ckecli status took %s and more, twice", f.Name, took)
		}
		select {
		case <-over.C:
			ended = true
		case <-time.After(200 * time.Millisecond): // asked now and then
		}
	}
	wrote(5) // a client waits for each answer of a member that gives none
	broken := time.Since(began)
	heal()
	healed := time.Now()
	var missing error // at last
	e.Until("all three are healthy", func(s api.Status) error {
		err := unhealthy(s)
		if err != nil {
			missing = err
		}
		return err
	})
	whole := time.Since(healed)
	wrote(20)
	e.t.Logf("%s for %s: status within %s, healed after %s, whole again after %s (%v), %s in all", f.Name, last,
		slowest.Round(time.Millisecond), broken.Round(time.Millisecond), whole.Round(time.Millisecond), missing,
		time.Since(began).Round(time.Millisecond))
}

// unhealthy says what a cluster lacks.
func unhealthy(s api.Status) error {
	for _, n := range s.Nodes {
		switch {
		case !n.Reachable:
			return fmt.Errorf("%s does not answer: %s", n.Hostname, n.Error)
		case n.Member == nil || !n.Member.Healthy:
			return fmt.Errorf("%s: member %+v", n.Hostname, n.Member)
		}
	}
	if !s.Settled {
		return fmt.Errorf("the plan is\n%s", s.Plan)
	}
	return nil
}

func (e *env) asksStatus() time.Duration {
	e.t.Helper()
	began := time.Now()
	e.Says("status", e.CLI("status"), "main")
	return time.Since(began)
}
