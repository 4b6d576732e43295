package faults

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cke/internal/plan"
	"cke/internal/record"
	"cke/test/faults/history"
)

// judge ends the run and checks everything.
func (r *run) judge() {
	t := r.t
	t.Helper()
	r.window("in the end", 3)
	r.boxStalls()
	h := r.clients.finish()
	r.collect()
	var records []record.Record
	steps := map[plan.Kind]int{}
	for _, seq := range slices.Sorted(maps.Keys(r.records)) {
		rec := r.records[seq]
		records = append(records, rec)
		if rec.Step != nil && rec.Outcome == record.Done {
			steps[rec.Step.Kind]++
		}
	}
	h.Compactions = slices.Concat(r.clients.compactions, compactions(records))
	r.mu.Lock()
	bad, judged, of := belowQuorum(records, r.seen, r.outages)
	r.mu.Unlock()
	if 2*judged < of {
		t.Errorf("of %d steps that change who votes or serves only %d could be judged: who voted was not known", of, judged)
	}
	for _, b := range bad {
		t.Error(b)
	}
	found := history.Check(h, limits(), 3*time.Minute)
	for i, v := range found {
		t.Error(v)
		if v.Draw != nil {
			r.draw(filepath.Join(r.out(), fmt.Sprintf("violation-%d.html", i+1)), v)
		}
	}
	if len(found) > 0 {
		path := filepath.Join(r.out(), "history.json.gz")
		if err := h.Save(path); err != nil {
			t.Error(err)
		}
		t.Logf("the history is in %s; go run ./test/faults/judge %s judges it again", path, path)
	}
	t.Logf("%s\nrounds:\n%s\nfaults: %v\noperations: %v\ndaemons: %v\nsteps of CKE's: %v\nviolations: %d of the clients' history, %d of quorum in %d of %d steps that change who votes or serves\n%s in all",
		history.Summary(h), strings.Join(r.lines, "\n"), r.faults, r.ops, r.suffered, steps, len(found), len(bad), judged, of, time.Since(r.began).Round(time.Second))
}

// boxStalls adds what nobody broke: with the box its members stood still, or one of them
// for longer than the others, long enough for these to elect another leader.
func (r *run) boxStalls() {
	began := time.Now().Add(-r.rec.Now())
	r.look.Each(time.Second, func(from, to time.Time) {
		r.t.Logf("the box stood still for %s", to.Sub(from).Round(time.Millisecond))
		r.rec.Stall(history.Window{Name: "the box stands still", From: from.Sub(began), To: to.Sub(began)})
	})
}

// limits are what a run must have reached to mean something. Whoever watches is away
// for a moment whenever its member goes; that nobody is told of something takes more.
func limits() history.Limits {
	return history.Limits{InWindow: 2, PerClient: 20, Refusals: 3, Told: 0.8, Known: 0.97}
}

// compactions are those of CKE's, as it recorded them, each in two: up to the revision
// before, and up to it. Of several that failed the same only the last says where it went
// to, and any may have come to etcd.
func compactions(records []record.Record) []history.Gap {
	var all []history.Gap
	for _, rec := range records {
		if rec.Step == nil || rec.Step.Kind != plan.Compact {
			continue
		}
		g := history.Gap{From: rec.Step.Revision - 1, To: rec.Step.Revision}
		if rec.Repeats > 0 {
			g.From = 1
		}
		all = append(all, g)
	}
	return all
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
	for i, in := range r.cke.two {
		if log, err := os.ReadFile(in.Log); err == nil {
			fmt.Fprintf(&b, "\nlog of cke %d:\n%s", i, log)
		}
	}
	path := filepath.Join(dir, "run.txt")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		r.t.Error(err)
	}
	r.t.Logf("what was done is in %s; CKE_FAULTS_SEED=%d repeats the schedule", path, r.seed)
}
