package agent

import (
	"os"
	"path/filepath"
	"testing"

	"cke/internal/cluster"
	"cke/internal/host"
)

// sealed brings a member to where it was started once and is stopped.
func sealed(t *testing.T, b *box, h host.Host) cluster.Unit {
	t.Helper()
	u := b.founder()
	b.install(t, h, u)
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	return u
}

// However data is lost, the member does not start; its unit still has the
// founding, the most dangerous case.
func TestLostDataIsNotStarted(t *testing.T) {
	for name, lose := range map[string]func(dir string) error{
		"directory": os.RemoveAll,
		"contents": func(dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.Mkdir(dir, 0o700)
		},
		"member": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "member")) },
		"wal files": func(dir string) error {
			wal := filepath.Join(dir, "member/wal")
			if err := os.RemoveAll(wal); err != nil {
				return err
			}
			return os.Mkdir(wal, 0o700)
		},
		"mark": func(dir string) error { return os.Remove(filepath.Join(dir, markName)) },
		"torn mark": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, markName), []byte(`{"clu`), 0o600)
		},
		"another's mark": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, markName), []byte(`{"cluster":"prod","member":"1"}`), 0o600)
		},
		"another cluster's mark": func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, markName))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, markName), append([]byte(`{"cluster":"x","m`), b[len(`{"cluster":"prod","m`):]...), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, b *box, open opener) {
				h := open(t, b)
				u := sealed(t, b, h)
				must(t, lose(b.dataDir(u)))
				wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.DataLost)
				if f := facts(t, h, b); !f.Unit.DataLost || f.Unit.NotMounted != "" {
					t.Errorf("%+v", f.Unit)
				}
				if pids := b.etcds(t); len(pids) > 0 {
					t.Errorf("etcd runs: %v", pids)
				}
				// The way out: the member is retired with what is left.
				must(t, h.RetireUnit(t.Context(), u.Cluster, u.Member))
			})
		})
	}
}

func TestFirstStartNeedsAnEmptyDirectory(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, u := open(t, b), b.founder()
		b.install(t, h, u)
		must(t, os.MkdirAll(filepath.Join(b.dataDir(u), "member/wal"), 0o700))
		wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.ForeignData)
		must(t, os.RemoveAll(filepath.Join(b.dataDir(u), "member")))
		must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	})
}

func TestUnsealedWithoutFoundingIsNotStarted(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	u.Founding = nil
	b.install(t, h, u)
	wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.NotFounding)
	if f := facts(t, h, b); len(f.Data) > 0 || f.Unit.Sealed {
		t.Fatalf("%+v", f)
	}
}

// The data root is a link to another file system here, which is as good as a
// mount: the link away, the empty directory of the root disk is in its place.
func TestDataRootNotMounted(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	disk, err := os.MkdirTemp("/dev/shm", "cke-disk-")
	must(t, err)
	t.Cleanup(func() {
		b.killAll(t)
		must(t, os.RemoveAll(disk))
	})
	root := filepath.Join(b.root, "var/lib/cke/etcd")
	must(t, os.MkdirAll(filepath.Dir(root), 0o700))
	must(t, os.Symlink(disk, root))
	h := inProcess(t, b)
	u := sealed(t, b, h)

	must(t, os.Remove(root))
	must(t, os.Mkdir(root, 0o700))
	wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.NotMounted)
	wantGuard(t, h.RetireUnit(t.Context(), u.Cluster, u.Member), host.NotMounted)
	if f := facts(t, h, b); f.Unit.NotMounted != root || f.Unit.DataLost {
		t.Fatalf("%+v", f.Unit)
	}

	must(t, os.Remove(root))
	must(t, os.Symlink(disk, root))
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
	// A rename cannot leave a file system of its own; the data is kept on it.
	must(t, h.RetireUnit(t.Context(), u.Cluster, u.Member))
	if f := facts(t, h, b); f.Unit != nil || len(f.Data) > 0 || len(f.Aside) != 1 || f.Aside[0].Bytes == 0 {
		t.Fatalf("%+v", f)
	}

	// Mounted and new: a lost disk, not an absent one. What was set aside keeps
	// the machine from founding the cluster again; a person takes it away.
	wantGuard(t, h.InstallUnit(t.Context(), u), host.FoundedBefore)
	must(t, os.RemoveAll(filepath.Join(disk, u.Cluster, ".aside")))
	u = sealed(t, b, h)
	must(t, os.RemoveAll(disk))
	must(t, os.Mkdir(disk, 0o700))
	wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.DataLost)
}

func TestAnotherMembersUnit(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, u := open(t, b), t.Context(), b.founder()
		b.install(t, h, u)
		must(t, h.StartUnit(ctx, u.Cluster, u.Member))
		next := u
		next.Member, next.Founding = u.Member+1, nil
		wantGuard(t, h.InstallUnit(ctx, next), host.OtherMember)
		wantGuard(t, h.StartUnit(ctx, u.Cluster, next.Member), host.OtherMember)
		wantGuard(t, h.StopUnit(ctx, host.StopUnit{Cluster: u.Cluster, Member: next.Member}), host.OtherMember)
		if pids := b.etcds(t); len(pids) != 1 {
			t.Fatalf("runs: %v", pids)
		}
		must(t, h.StopUnit(ctx, host.StopUnit{Cluster: u.Cluster, Member: u.Member}))
		wantGuard(t, h.InstallUnit(ctx, next), host.OtherMember)
		must(t, h.RetireUnit(ctx, u.Cluster, u.Member))
		must(t, h.InstallUnit(ctx, next))
		// The new unit is not retired with an orphan of the old member's.
		must(t, os.MkdirAll(filepath.Join(b.dataDir(u), "member"), 0o700))
		must(t, h.RetireUnit(ctx, u.Cluster, u.Member))
		if f := facts(t, h, b); f.Unit == nil || f.Unit.Unit.Member != next.Member || len(f.Aside) != 2 || len(f.Data) > 0 {
			t.Fatalf("%+v", f)
		}
	})
}

func TestVersionMustBeInstalledAndRight(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	b.install(t, h, u)
	for _, version := range []string{"3.7.4", "3.6.1"} {
		u.Version = version
		must(t, h.InstallUnit(t.Context(), u))
		wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.NoVersion)
		b.release(t, version) // a directory that lies about its binary
		wantGuard(t, h.StartUnit(t.Context(), u.Cluster, u.Member), host.NoVersion)
	}
	if f := facts(t, h, b); len(f.Versions) != 1 || f.Versions[0] != testVersion || f.Unit.Sealed {
		t.Fatalf("%+v", f)
	}
	// A binary that is replaced is looked at again.
	path := filepath.Join(b.releases, "v3.7.4", "etcd")
	must(t, os.Remove(path))
	writeProgram(t, path, "echo etcd Version: 3.7.4\n")
	if f := facts(t, h, b); len(f.Versions) != 2 {
		t.Fatalf("%+v", f.Versions)
	}
}
