package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// CKE's state was restored from before the bootstrap: it asks a machine that
// carried a member to found the cluster once more.
func TestNoSecondFounding(t *testing.T) {
	for name, carried := range map[string]struct {
		leave func(b *box) string // returns what the refusal must name
	}{
		"set aside": {func(b *box) string {
			return b.leave(t, b.agent().layout.asides(testCluster)[0], asideName(7, time.Now()), "member/wal")
		}},
		"set aside on the data disk": {func(b *box) string {
			return b.leave(t, b.agent().layout.asides(testCluster)[1], asideName(7, time.Now()), "member/wal")
		}},
		"another member's data": {func(b *box) string {
			b.leave(t, b.agent().layout.data(testCluster, 7), "member/wal")
			return b.agent().layout.data(testCluster, 7)
		}},
		"memory of another member whose data is lost": {func(b *box) string {
			path := b.agent().layout.seal(testCluster, 7)
			must(t, os.MkdirAll(filepath.Dir(path), 0o700))
			must(t, writeJSON(path, seal{Cluster: testCluster, Member: 7, Sealed: true}))
			return path
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			h, u := inProcess(t, b), b.founder()
			b.install(t, h, u) // and another who found an empty machine
			left := carried.leave(b)
			b.id.Store(&host.Identity{StoreID: "store-a", Epoch: 2})
			must(t, h.Claim(t.Context()))
			for what, err := range map[string]error{
				"install": h.InstallUnit(t.Context(), u),
				"start":   h.StartUnit(t.Context(), u.Cluster, u.Member),
			} {
				wantGuard(t, err, host.FoundedBefore)
				if !strings.Contains(err.Error(), left) || !strings.Contains(err.Error(), "second cluster") {
					t.Errorf("%s: %v does not name %s", what, err, left)
				}
			}
			if pids := b.etcds(t); len(pids) > 0 {
				t.Fatalf("etcd runs: %v", pids)
			}
			if f := facts(t, h, b); f.Unit.Sealed {
				t.Fatalf("%+v", f.Unit)
			}
			// A person moves it away.
			must(t, os.Rename(left, filepath.Join(b.root, "by-hand")))
			must(t, h.InstallUnit(t.Context(), u))
			must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
			// Sealed, it founds nothing whatever its unit says.
			must(t, os.MkdirAll(filepath.Join(b.agent().layout.asides(testCluster)[0], asideName(7, time.Now())), 0o700))
			must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
			must(t, h.InstallUnit(t.Context(), u))
			must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
		})
	}
}

// leave makes a directory with something in it and returns the outer one.
func (b *box) leave(t testing.TB, dir string, below ...string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(append([]string{dir}, below...)...), 0o700))
	return dir
}

// The very cluster that ran here and was retired; joining it again is allowed.
func TestRetiredMachineJoinsAndDoesNotFound(t *testing.T) {
	bothWays(t, func(t *testing.T, b *box, open opener) {
		h := open(t, b)
		u := sealed(t, b, h)
		must(t, h.RetireUnit(t.Context(), u.Cluster, u.Member))
		err := h.InstallUnit(t.Context(), u)
		wantGuard(t, err, host.FoundedBefore)
		if want := filepath.Join(b.root, "var/lib/cke/etcd-aside", u.Cluster); !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
		if f := facts(t, h, b); f.Unit != nil {
			t.Fatalf("installed: %+v", f.Unit)
		}
		// Another cluster's data is no hindrance, and neither is joining.
		other := u
		other.Cluster = "other"
		must(t, h.InstallUnit(t.Context(), other))
		u.Founding = &cluster.Founding{Token: u.Founding.Token, Peers: u.Founding.Peers}
		must(t, h.InstallUnit(t.Context(), u))
	})
}

// A first start that was cut off goes on, for its data is its own.
func TestBegunFoundingGoesOn(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	u := sealed(t, b, h)
	a := b.agent()
	s, _, err := a.readSeal(u.Cluster, u.Member)
	must(t, err)
	s.Sealed = false
	must(t, errors.Join(writeJSON(a.layout.seal(u.Cluster, u.Member), s), os.Remove(filepath.Join(b.dataDir(u), markName))))
	b.leave(t, a.layout.asides(u.Cluster)[0], asideName(7, time.Now()))
	must(t, h.InstallUnit(t.Context(), u))
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
}
