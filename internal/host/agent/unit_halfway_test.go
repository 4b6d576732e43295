package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

// filing is a runtime that keeps something of the unit outside, as systemd's does.
type filing struct {
	runtime
	has   cluster.Unit
	times int
}

func (f *filing) install(_ context.Context, u cluster.Unit, _ bool) error {
	f.has = u
	f.times++
	return nil
}

func (f *filing) installed(u cluster.Unit, sealed bool) (bool, error) {
	return !sealed || f.has.Equal(u), nil
}

func withFiling(t *testing.T) (*box, *Agent, *filing, host.Host, cluster.Unit) {
	t.Helper()
	processOnly(t, "the runtime is not the machine's")
	b := newBox(t)
	a := b.agent()
	f := &filing{runtime: a.runtime}
	a.runtime = f
	u := b.founder()
	return b, a, f, host.Local(a.Handler(), b.identity), u
}

// A unit that was half installed is told of, and the old one is not taken for installed:
// whoever wants it back gets it back.
func TestAHalfInstalledUnitIsToldOf(t *testing.T) {
	t.Parallel()
	b, _, f, h, u := withFiling(t)
	ctx := t.Context()
	b.install(t, h, u)
	must(t, h.StartUnit(ctx, u.Cluster, u.Member))
	u.Founding = nil
	must(t, h.InstallUnit(ctx, u))
	if got := facts(t, h, b).Unit; got.Unfinished || !got.Unit.Equal(u) {
		t.Fatalf("installed: %+v", got)
	}
	times := f.times
	must(t, h.InstallUnit(ctx, u))
	if f.times != times {
		t.Error("what is installed is installed again")
	}
	other := u
	other.Quota++
	must(t, f.install(ctx, other, true)) // and then the agent was killed
	if got := facts(t, h, b).Unit; !got.Unfinished || !got.Unit.Equal(u) {
		t.Errorf("half installed: %+v", got)
	}
	must(t, h.InstallUnit(ctx, u))
	if got := facts(t, h, b).Unit; got.Unfinished || !f.has.Equal(u) {
		t.Errorf("mended: %+v, the runtime has %+v", got, f.has)
	}
}

// Where there is no room for the unit's own file the runtime is not told of it either.
func TestAFullDiskInstallsNoHalf(t *testing.T) {
	t.Parallel()
	b, a, f, h, u := withFiling(t)
	at := filepath.Dir(a.layout.unit(u.Cluster))
	must(t, os.MkdirAll(at, 0o700))
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(at, unix.MNT_DETACH)) })
	b.install(t, h, u)
	fillUp(t, filepath.Join(at, "filler"))
	other, times := u, f.times
	other.Quota++
	wantGuard(t, h.InstallUnit(t.Context(), other), host.NoSpace)
	if f.times != times || !f.has.Equal(u) {
		t.Errorf("the runtime has %+v", f.has)
	}
	left, err := names(at)
	must(t, err)
	if slices.ContainsFunc(left, func(n string) bool { return n[0] == '.' }) {
		t.Errorf("left behind: %v", left)
	}
	must(t, os.Remove(filepath.Join(at, "filler")))
	must(t, h.InstallUnit(t.Context(), other))
	if !f.has.Equal(other) {
		t.Errorf("with room again the runtime has %+v", f.has)
	}
}

// Which unit systemd's file is of is read from the file.
func TestWhichUnitAServiceFileIsOf(t *testing.T) {
	t.Parallel()
	s := newServices(layout{root: t.TempDir(), releases: "/opt/cke/etcd"}, nil, func(string) {})
	u := testFile(nil, true).unit
	is := func(what string, u cluster.Unit, sealed, want bool) {
		t.Helper()
		if got, err := s.installed(u, sealed); err != nil || got != want {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	is("no file", u, true, false)
	is("not sealed, its start writes it", u, false, true)
	f, err := s.file(u, true)
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(s.filePath(u.Cluster)), 0o755))
	must(t, os.WriteFile(s.filePath(u.Cluster), []byte(f.render()), 0o644))
	is("its own", u, true, true)
	founded := u
	founded.Founding = &cluster.Founding{New: true, Token: "t", Peers: map[cluster.NodeName]string{"cp1": "https://10.0.0.1:2380"}}
	is("its own, with the founding that is over", founded, true, true)
	other := u
	other.Quota++
	is("another's", other, true, false)
	must(t, os.Remove(s.filePath(u.Cluster)))
	must(t, os.Symlink("/dev/null", s.filePath(u.Cluster)))
	is("masked, which is told otherwise", u, true, true)
}
