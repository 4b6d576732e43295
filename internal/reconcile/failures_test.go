package reconcile

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

func TestFailuresBackOffAndAreShown(t *testing.T) {
	f, now := newFailures(), time.Unix(1000, 0)
	s := plan.Step{Kind: plan.AddLearner, Nodes: []cluster.NodeName{"cp4"}}
	p := plan.Plan{Steps: []plan.Step{s}}
	var waited time.Duration
	for i := 1; i <= 12; i++ {
		runnable, _ := f.holdBack(p, now)
		if len(runnable) != 1 {
			t.Fatalf("attempt %d: not tried when its time has come", i)
		}
		f.fail(s, errors.New("no space left on device"), record.Record{Seq: 7}, now)
		wait, ok := f.next(now)
		if !ok || wait < waited && waited < retryMax || wait > retryMax {
			t.Fatalf("attempt %d: next in %s after %s", i, wait, waited)
		}
		runnable, shown := f.holdBack(p, now)
		if len(runnable) != 0 {
			t.Fatalf("attempt %d: tried again at once", i)
		}
		level := plan.Waiting
		if i >= showBlocked {
			level = plan.Blocked
		}
		if r := shown.Reasons[0]; r.Level != level || !strings.Contains(r.Text, "no space left") {
			t.Fatalf("attempt %d: shown as %s", i, r)
		}
		waited, now = wait, now.Add(wait)
	}
	if waited != retryMax {
		t.Errorf("after 12 failures the next comes in %s, want %s", waited, retryMax)
	}
	if rec, ok := f.record(s); !ok || rec.Seq != 7 {
		t.Errorf("the record to amend is %+v, %v", rec, ok)
	}
	f.forgetAllBut(nil, now)
	if _, ok := f.next(now); ok {
		t.Error("a step nobody wants is still waited for")
	}
}

// TestWhatComesAndGoesIsToldOnce: a failed step that is wanted again soon is tried at
// once, and its record gone on with; later it has a record of its own.
func TestWhatComesAndGoesIsToldOnce(t *testing.T) {
	f, now := newFailures(), time.Unix(1000, 0)
	s := plan.Step{Kind: plan.AddLearner, Nodes: []cluster.NodeName{"cp4"}}
	p := plan.Plan{Steps: []plan.Step{s}}
	for range 4 {
		f.fail(s, errors.New("unhealthy cluster"), record.Record{Seq: 7}, now)
	}
	now = now.Add(time.Second)
	f.forgetAllBut(nil, now)
	now = now.Add(foldsFor)
	f.forgetAllBut(keys(p, nil), now)
	if runnable, shown := f.holdBack(p, now); len(runnable) != 1 || len(shown.Reasons) > 0 {
		t.Errorf("asked for anew it is shown as %s", shown)
	}
	if rec, ok := f.record(s); !ok || rec.Seq != 7 {
		t.Errorf("the record to amend is %+v, %v", rec, ok)
	}
	f.forgetAllBut(nil, now)
	f.forgetAllBut(nil, now.Add(foldsFor+time.Second))
	if rec, ok := f.record(s); ok {
		t.Errorf("long after, the record to amend is %+v", rec)
	}
}

// TestStartThatDoesNotHold: a member that ends again and again right after its
// start is started at growing intervals, shown, and folded into one record; one
// that ran for a while is started at once.
func TestStartThatDoesNotHold(t *testing.T) {
	f, now := newFailures(), time.Unix(1000, 0)
	s := plan.Step{Kind: plan.StartMembers, Nodes: []cluster.NodeName{"cp2"}, Reason: "it ended with exit status 2"}
	p := plan.Plan{Steps: []plan.Step{s}}
	look := func() ([]plan.Step, plan.Plan) {
		f.forgetAllBut(keys(p, nil), now)
		f.noticeEnded(p, now)
		return f.holdBack(p, now)
	}
	for i := range 6 {
		runnable, shown := look()
		if i == 0 {
			if len(runnable) != 1 || len(shown.Reasons) != 0 {
				t.Fatalf("the first start waits: %v", shown)
			}
		} else {
			if len(runnable) != 0 {
				t.Fatalf("start %d comes at once", i)
			}
			wait, _ := f.next(now)
			now = now.Add(wait)
			if runnable, shown = look(); len(runnable) != 1 || !strings.Contains(shown.Reasons[0].Text, "exit status 2") {
				t.Fatalf("start %d: %v", i, shown)
			}
			if rec, ok := f.record(s); !ok || rec.Seq != 3 {
				t.Fatalf("start %d makes a record of its own", i)
			}
		}
		f.succeed(s, record.Record{Seq: 3, Outcome: record.Done}, now)
		now = now.Add(10 * time.Millisecond)
		f.forgetAllBut(nil, now) // it runs for a moment
	}
	if _, shown := look(); !shown.Has(plan.Blocked) {
		t.Errorf("after six starts: %v", shown)
	}
	f.succeed(s, record.Record{}, now)
	now = now.Add(startMustHold + time.Second)
	f.noticeEnded(plan.Plan{}, now)
	if runnable, _ := look(); len(runnable) != 1 {
		t.Error("a member that ran for a while is not started at once")
	}
}

// TestWhoWasStoppedDidNotEnd: a node that is drained right after its member was started,
// and undrained, has its member started at once, with a record of its own.
func TestWhoWasStoppedDidNotEnd(t *testing.T) {
	f, now := newFailures(), time.Unix(1000, 0)
	s := plan.Step{Kind: plan.StartMembers, Nodes: []cluster.NodeName{"cp2"}, Reason: "the member is stopped"}
	for range 4 {
		f.noticeEnded(plan.Plan{Steps: []plan.Step{s}}, now)
		if runnable, shown := f.holdBack(plan.Plan{Steps: []plan.Step{s}}, now); len(runnable) != 1 || len(shown.Reasons) > 0 {
			t.Fatalf("the start waits, or is shown as failed: %v", shown)
		}
		if _, failed := f.record(s); failed {
			t.Fatal("the start has no record of its own")
		}
		f.succeed(s, record.Record{Seq: 3, Outcome: record.Done}, now)
		now = now.Add(10 * time.Millisecond)
		f.succeed(plan.Step{Kind: plan.StopMember, Nodes: []cluster.NodeName{"cp2"}, Member: 7}, record.Record{}, now)
	}
}

func TestBatchLeavesMembershipAlone(t *testing.T) {
	steps := []plan.Step{{Kind: plan.AddLearner}, {Kind: plan.StartMembers}, {Kind: plan.ConfigureAuth}}
	if got := plan.NextBatch(steps); len(got) != 2 || got[0].Kind != plan.StartMembers {
		t.Errorf("batch %v", got)
	}
	both := []cluster.NodeName{"cp1", "cp2"}
	steps = append(steps, plan.Step{Kind: plan.InstallUnits, Nodes: both[:1]})
	steps[1].Nodes = both
	if got := plan.NextBatch(steps); len(got) != 3 || !slices.Equal(got[0].Nodes, both[1:]) || len(steps[1].Nodes) != 2 {
		t.Errorf("beside a unit that is installed: batch %v", got)
	}
	steps[1].Nodes = both[:1]
	if got := plan.NextBatch(steps); len(got) != 2 || got[1].Kind != plan.InstallUnits {
		t.Errorf("with its unit about to be installed: batch %v", got)
	}
	if got := plan.NextBatch(steps[:1]); len(got) != 1 || got[0].Kind != plan.AddLearner {
		t.Errorf("batch %v", got)
	}
}

// TestStepDoneInVain: a step that is done and asked for again and again is tried
// at growing intervals and shown, until the plan can do without it.
func TestStepDoneInVain(t *testing.T) {
	f, now := newFailures(), time.Unix(1000, 0)
	s := plan.Step{Kind: plan.CheckHosts, Nodes: []cluster.NodeName{"cp2"}}
	p := plan.Plan{Steps: []plan.Step{s}}
	f.failInVain(s, errors.New("it was done 5 times"), record.Record{}, now)
	var waited time.Duration
	for range 10 {
		wait, ok := f.next(now)
		if !ok || wait < waited {
			t.Fatalf("next in %s after %s", wait, waited)
		}
		waited, now = wait, now.Add(wait)
		f.succeed(s, record.Record{Seq: 3}, now)
	}
	if _, shown := f.holdBack(p, now); waited != retryMax || !shown.Has(plan.Blocked) {
		t.Errorf("after ten times it waits %s, and is shown as %s", waited, shown)
	}
	f.forgetAllBut(nil, now)
	if runnable, shown := f.holdBack(p, now); len(runnable) != 1 || len(shown.Reasons) > 0 {
		t.Errorf("asked for anew it is shown as %s", shown)
	}
}
