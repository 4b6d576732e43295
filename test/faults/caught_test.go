package faults

import (
	"slices"
	"testing"
	"time"

	"cke/test/faults/history"
	"cke/test/faults/schedule"
)

// TestAnEtcdThatDoesNotSyncIsCaught: the suite finds what it is there to find. An
// etcd that acknowledges writes before they are on the disk loses some of them when
// all machines lose their power.
func TestAnEtcdThatDoesNotSyncIsCaught(t *testing.T) {
	r := newRun(t, founders, "./testdata/nosync")
	r.start()
	for _, m := range r.lab.Machines() { // what it loses shall not be the cluster itself
		if _, err := m.Exec(t.Context(), "sync"); err != nil {
			t.Fatal(err)
		}
	}
	r.clients.served(5) // in less time than the kernel takes to write by itself
	heal := r.lab.Break(t, r.fault(schedule.Round{Fault: schedule.Blackout}, nil, nil))
	heal()
	r.clients.served(3)
	r.clients.patience = 5 * time.Second // a watch is told nothing more once its revision is gone
	h := r.clients.finish()
	var checks []string
	for _, v := range history.Check(h, history.Limits{}, time.Minute) {
		checks = append(checks, v.Check)
	}
	if !slices.Contains(checks, "writes") || !slices.Contains(checks, "linearizability") {
		t.Errorf("acknowledged writes are lost, and what is found is of %v only", checks)
	}
	t.Logf("%d violations", len(checks))
}
