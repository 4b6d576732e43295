package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"cke/internal/host"
	"cke/internal/pack"
)

// otherVersion is one that no box has; its "etcd" is a script that says so.
const otherVersion = "3.6.9"

// cargo is a release with both its forms.
type cargo struct {
	host.Release
	binary, packed []byte
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// newCargo is a program of about n bytes that says it is a version.
func newCargo(t testing.TB, says string, n int) cargo {
	t.Helper()
	noise := make([]byte, n/2)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	return cargoOf(t, fmt.Appendf(nil, "#!/bin/sh\necho 'etcd Version: %s'\nexit 0\n# %x\n", says, noise))
}

func cargoOf(t testing.TB, binary []byte) cargo {
	t.Helper()
	var packed bytes.Buffer
	must(t, pack.Pack(context.Background(), &packed, bytes.NewReader(binary)))
	return cargo{host.Release{
		Version: otherVersion, Arch: goruntime.GOARCH, SHA256: sumOf(binary), Size: int64(len(binary)),
		PackedSHA256: sumOf(packed.Bytes()), PackedSize: int64(packed.Len()),
	}, binary, packed.Bytes()}
}

// send goes on where the machine says, as CKE does.
func send(ctx context.Context, h host.Host, c cargo) error {
	s, err := h.ReleaseOffset(ctx, c.Release)
	if err != nil || s.Installed {
		return err
	}
	return h.PutRelease(ctx, c.Release, s.Offset, bytes.NewReader(c.packed[s.Offset:]))
}

func (b *box) binaryIs(t testing.TB, c cargo) {
	t.Helper()
	path := filepath.Join(b.releases, "v"+otherVersion, "etcd")
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, c.binary) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(c.binary), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Fatalf("mode: %v %v", info, err)
	}
	if left, err := names(filepath.Join(b.releases, ".incoming")); err != nil || len(left) > 1 {
		t.Fatalf("left behind: %q %v", left, err)
	}
}

func TestReleaseIsInstalled(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, c := open(t, b), t.Context(), newCargo(t, otherVersion, 10<<20)
		s, err := h.ReleaseOffset(ctx, c.Release)
		if err != nil || s != (host.ReleaseState{}) {
			t.Fatalf("before: %+v %v", s, err)
		}
		must(t, send(ctx, h, c))
		b.binaryIs(t, c)
		if f := facts(t, h, b); !slices.Equal(f.Versions, []string{otherVersion, testVersion}) {
			t.Fatalf("versions: %v", f.Versions)
		}
		if s, err = h.ReleaseOffset(ctx, c.Release); err != nil || !s.Installed {
			t.Fatalf("after: %+v %v", s, err)
		}
		must(t, h.PutRelease(ctx, c.Release, 0, bytes.NewReader(c.packed))) // again is nothing
		if info, err := os.Stat(filepath.Join(b.releases, "v"+otherVersion)); err != nil || info.Mode().Perm() != 0o755 {
			t.Fatalf("directory: %v %v", info, err)
		}
	})
}

// What is not what was announced is not installed, and is sent anew next time.
func TestReleaseThatIsSomethingElse(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx := open(t, b), t.Context()
		good := newCargo(t, otherVersion, 5000)
		bomb := cargoOf(t, append(slices.Clone(good.binary), bytes.Repeat([]byte("#\n"), 64<<20)...))
		bomb.Size = good.Size
		other := newCargo(t, otherVersion, 5000)
		for name, c := range map[string]struct {
			cargo
			guard host.GuardKind
		}{
			"other bytes":      {cargo{good.Release, nil, bytes.Repeat([]byte("x"), len(good.packed))}, ""},
			"another binary":   {cargo{with(other.Release, func(r *host.Release) { r.SHA256 = good.SHA256 }), nil, other.packed}, ""},
			"smaller":          {cargo{with(good.Release, func(r *host.Release) { r.Size++ }), nil, good.packed}, ""},
			"a bomb":           {bomb, ""},
			"another version":  {newCargo(t, "3.6.8", 5000), host.NoVersion},
			"no program":       {cargoOf(t, []byte("hello")), host.NoVersion},
			"not this machine": {cargo{with(good.Release, func(r *host.Release) { r.Arch = "vax" }), nil, good.packed}, host.OtherArch},
		} {
			err := h.PutRelease(ctx, c.Release, 0, bytes.NewReader(c.packed))
			var g *host.GuardError
			if err == nil || errors.As(err, &g) != (c.guard != "") || g != nil && g.Kind != c.guard {
				t.Fatalf("%s: %v", name, err)
			}
			if f := facts(t, h, b); slices.Contains(f.Versions, otherVersion) {
				t.Fatalf("%s is installed", name)
			}
			if left, err := names(filepath.Join(b.releases, ".incoming")); err != nil || len(left) > 1 {
				t.Fatalf("%s leaves %q %v", name, left, err)
			}
		}
		wantInvalid(t, h.PutRelease(ctx, good.Release, 0, bytes.NewReader(append(slices.Clone(good.packed), 0))))
		must(t, send(ctx, h, good))
		b.binaryIs(t, good)
	})
}

func with(r host.Release, change func(*host.Release)) host.Release {
	change(&r)
	return r
}

func TestReleasesThatAreRefused(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, good := open(t, b), t.Context(), newCargo(t, otherVersion, 100)
		before := tree(t, b.releases)
		var all []host.Release
		for _, name := range hostile() {
			if len(name) > 1000 {
				continue // a header carries no megabyte: TestLargeReleaseHeader
			}
			all = append(all,
				with(good.Release, func(r *host.Release) { r.Version = name }),
				with(good.Release, func(r *host.Release) { r.SHA256 = "/" + name }),
				with(good.Release, func(r *host.Release) { r.PackedSHA256 = "../" + name }),
			)
		}
		for _, n := range []int64{0, -1, maxRelease + 1} {
			all = append(all,
				with(good.Release, func(r *host.Release) { r.Size = n }),
				with(good.Release, func(r *host.Release) { r.PackedSize = n }))
		}
		for _, r := range all {
			_, err := h.ReleaseOffset(ctx, r)
			wantInvalid(t, err)
			wantInvalid(t, h.PutRelease(ctx, r, 0, bytes.NewReader(good.packed)))
		}
		for _, offset := range []int64{-1, good.PackedSize + 1} {
			wantInvalid(t, h.PutRelease(ctx, good.Release, offset, bytes.NewReader(good.packed)))
		}
		if after := tree(t, b.releases); len(after) != len(before) {
			t.Fatalf("there is now %q", after)
		}
		// What is refused before it is read says why, however much was to come.
		large := with(good.Release, func(r *host.Release) { r.Arch, r.PackedSize = "vax", 64<<20 })
		for range 20 {
			wantGuard(t, h.PutRelease(ctx, large, 0, bytes.NewReader(make([]byte, 64<<20))), host.OtherArch)
		}
		if err := h.PutRelease(ctx, good.Release, 5, bytes.NewReader(good.packed[5:])); err == nil {
			t.Fatal("a transfer begins where nothing is")
		}
	})
}

func TestLargeReleaseHeader(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	for _, head := range []string{"", "x", "[]", `{"release":{"version":"` + strings.Repeat("../", 1<<18) + `"}}`} {
		req := httptest.NewRequest("POST", "/v1/put-release", strings.NewReader("x"))
		req.Header.Set(host.HeaderStore, "store-a")
		req.Header.Set(host.HeaderEpoch, "1")
		req.Header.Set(host.HeaderRelease, head)
		w := httptest.NewRecorder()
		b.agent().Handler().ServeHTTP(w, req)
		if w.Code != http.StatusBadRequest || w.Body.Len() > 2000 {
			t.Errorf("%.40q: %d %.300s", head, w.Code, w.Body)
		}
	}
}

func TestFullAndReadOnlyPlaces(t *testing.T) {
	t.Parallel()
	b, c := newBox(t), newCargo(t, otherVersion, 1<<20)
	a := b.agent()
	a.free = func(string) (int64, error) { return c.PackedSize + c.Size - 1, nil }
	err := send(t.Context(), host.Local(a.Handler(), b.identity), c)
	wantGuard(t, err, host.NoSpace)
	if !strings.Contains(err.Error(), mountPoint(b.releases)+" has ") || !strings.Contains(err.Error(), "etcd "+otherVersion+" needs ") {
		t.Errorf("it says %q", err)
	}

	// Half of it has come: half is needed no more.
	must(t, os.WriteFile(filepath.Join(b.releases, ".incoming", c.PackedSHA256), c.packed[:1000], 0o600))
	a.free = func(string) (int64, error) { return c.PackedSize + c.Size - 1000, nil }
	must(t, send(t.Context(), host.Local(a.Handler(), b.identity), c))
	b.binaryIs(t, c)

	b.releases = "/sys/cke" // where nobody makes a directory, root neither
	err = send(t.Context(), inProcess(t, b), c)
	wantGuard(t, err, host.ReadOnly)
	if !strings.Contains(err.Error(), "/sys/cke") {
		t.Errorf("it says %q", err)
	}
}

func releasePoints() []string {
	return []string{"release:received", "release:whole", "release:unpacked", "release:marked", "release:installed"}
}

func TestReleaseIsFinishedAfterACrash(t *testing.T) {
	b, c := newBox(t), newCargo(t, otherVersion, 100<<10)
	var reached []string
	a := b.agent()
	a.reached = func(p string) { reached = append(reached, p) }
	must(t, send(t.Context(), host.Local(a.Handler(), b.identity), c))
	if !slices.Equal(reached, releasePoints()) {
		t.Fatalf("reached %q", reached)
	}
	for _, point := range releasePoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			crash(t, b, crashJob{Release: &c.Release, Packed: c.packed}, point)
			h := inProcess(t, b)
			if s, err := h.ReleaseOffset(t.Context(), c.Release); err != nil || !s.Installed && s.Offset != c.PackedSize {
				t.Fatalf("%+v %v", s, err)
			}
			must(t, send(t.Context(), h, c))
			if slices.Contains(facts(t, h, b).Versions, otherVersion) == false {
				t.Fatal("it is not installed")
			}
			must(t, h.PutRelease(t.Context(), c.Release, 0, bytes.NewReader(c.packed)))
		})
	}
}

// A binary that members run is not exchanged under its version's name; one that
// is broken, or that nobody uses, is.
func TestReleaseInUseIsNotReplaced(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u := inProcess(t, b), b.founder()
	first, second := newCargo(t, otherVersion, 500), newCargo(t, otherVersion, 500)
	must(t, send(t.Context(), h, first))
	must(t, send(t.Context(), h, second))
	b.binaryIs(t, second)
	u.Version = otherVersion
	must(t, h.InstallUnit(t.Context(), u))
	wantGuard(t, send(t.Context(), h, first), host.InUse)
	b.binaryIs(t, second)
	must(t, send(t.Context(), h, second))
	must(t, os.WriteFile(filepath.Join(b.releases, "v"+otherVersion, "etcd"), []byte("#!/bin/sh\n"), 0o755))
	must(t, send(t.Context(), h, first))
	b.binaryIs(t, first)
}

// What was uploaded is looked at by nobody, where that can be.
func TestUploadedBinaryRunsAsNobody(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	a := b.agent()
	for _, dir := range []string{b.releases, filepath.Dir(b.releases)} {
		must(t, os.Chmod(dir, 0o755)) // as /opt is
	}
	want := os.Geteuid()
	if want == 0 {
		a.versions.asNobody, want = true, nobody
	}
	if New(Options{Root: "/"}).versions.asNobody != (os.Geteuid() == 0) || b.agent().versions.asNobody != onMachine() {
		t.Error("on a machine of its own it is not so, or below another root it is")
	}
	c := cargoOf(t, fmt.Appendf(nil, "#!/bin/sh\necho 'etcd Version: %s'\n[ \"$(id -u)\" = %d ]\n", otherVersion, want))
	must(t, send(t.Context(), host.Local(a.Handler(), b.identity), c))
	if v, err := a.versions.list(t.Context()); err != nil || !slices.Contains(v, otherVersion) {
		t.Errorf("%v %v", v, err)
	}
}
