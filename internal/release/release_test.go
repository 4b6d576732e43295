package release

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"cke/internal/cluster"
	"cke/internal/pack"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// program is the smallest file that is one for an architecture, and n bytes more.
func program(t *testing.T, m elf.Machine, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, binary.Write(&b, binary.LittleEndian, elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(m), Version: uint32(elf.EV_CURRENT), Ehsize: 64,
	}))
	return append(b.Bytes(), bytes.Repeat([]byte("etcd"), n/4)...)
}

func newShelf(t *testing.T) *Shelf {
	t.Helper()
	dir := t.TempDir()
	return New(Options{Dir: filepath.Join(dir, "releases"), Cache: filepath.Join(dir, "packed"), Log: slog.New(slog.DiscardHandler)})
}

func (s *Shelf) put(t *testing.T, path string, b []byte) {
	t.Helper()
	path = filepath.Join(s.o.Dir, path)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, b, 0o755))
}

func (s *Shelf) cached(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(s.o.Cache)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// binaryOf is what a release unpacks to; what it says of itself must be true.
func (s *Shelf) binaryOf(t *testing.T, r cluster.Release) []byte {
	t.Helper()
	p, err := s.Open(t.Context(), r)
	must(t, err)
	defer p.Close()
	packed, err := io.ReadAll(p)
	must(t, err)
	var out bytes.Buffer
	must(t, pack.Unpack(t.Context(), &out, bytes.NewReader(packed), p.Info.Size))
	whole, in := newSummed(bytes.NewReader(out.Bytes())), newSummed(bytes.NewReader(packed))
	_, err = io.Copy(io.Discard, whole)
	must(t, err)
	_, err = io.Copy(io.Discard, in)
	must(t, err)
	if p.Info.Version != r.Version || p.Info.Arch != r.Arch || p.Info.SHA256 != whole.sum() || p.Info.PackedSHA256 != in.sum() || p.Info.PackedSize != in.n {
		t.Fatalf("%+v", p.Info)
	}
	return out.Bytes()
}

var amd, arm = cluster.Release{Version: "3.7.3", Arch: "amd64"}, cluster.Release{Version: "3.7.3", Arch: "arm64"}

func TestWhatCanBeHandedOut(t *testing.T) {
	s := newShelf(t)
	if have := s.Have(); len(have) != 0 {
		t.Errorf("of no directory: %v", have)
	}
	s.put(t, "v3.7.3/etcd", program(t, elf.EM_X86_64, 8))
	s.put(t, "v3.7.3/etcd-linux-arm64", program(t, elf.EM_AARCH64, 12))
	s.put(t, "v3.7.3/etcd-linux-s390x", program(t, elf.EM_X86_64, 16)) // it is not what it says
	s.put(t, "v3.7.3/etcd-linux-riscv64", []byte("no program"))
	s.put(t, "v3.7.3/etcd-linux-..", program(t, elf.EM_AARCH64, 16))
	s.put(t, "v3.7/etcd", program(t, elf.EM_X86_64, 8))
	s.put(t, "3.7.2/etcd", program(t, elf.EM_X86_64, 8))
	s.put(t, "v3.6.16/etcd-linux-amd64", program(t, elf.EM_X86_64, 20))
	want := []cluster.Release{{Version: "3.6.16", Arch: "amd64"}, amd, arm}
	if have := s.Have(); !slices.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
	// The name with the architecture goes first.
	s.put(t, "v3.7.3/etcd-linux-amd64", program(t, elf.EM_X86_64, 400))
	if got := s.binaryOf(t, amd); len(got) != 64+400 {
		t.Errorf("%d bytes", len(got))
	}
	if got := s.binaryOf(t, arm); len(got) != 64+12 {
		t.Errorf("%d bytes", len(got))
	}
	if _, err := s.Open(t.Context(), cluster.Release{Version: "3.7.3", Arch: "s390x"}); !errors.Is(err, ErrNone) {
		t.Errorf("s390x: %v", err)
	}
}

func TestEtcdItselfIsHandedOut(t *testing.T) {
	b, err := os.ReadFile("../../bin/etcd")
	if err != nil {
		t.Fatalf("%v: run make build", err)
	}
	s := newShelf(t)
	s.put(t, "v3.7.3/etcd", b)
	have := s.Have()
	if len(have) != 1 {
		t.Fatal(have)
	}
	if got := s.binaryOf(t, have[0]); !bytes.Equal(got, b) {
		t.Fatalf("%d of %d bytes", len(got), len(b))
	}
	p, err := s.Open(t.Context(), have[0])
	must(t, err)
	defer p.Close()
	if p.Info.PackedSize > p.Info.Size/2 {
		t.Errorf("%d bytes are packed into %d", p.Info.Size, p.Info.PackedSize)
	}
	t.Logf("%d bytes are packed into %d", p.Info.Size, p.Info.PackedSize)
}

func TestABinaryIsPackedOnce(t *testing.T) {
	s := newShelf(t)
	s.put(t, "v3.7.3/etcd", program(t, elf.EM_X86_64, 1<<20))
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			p, err := s.Open(t.Context(), amd)
			if err != nil {
				return err
			}
			return p.Close()
		})
	}
	must(t, g.Wait())
	first := s.cached(t)
	if len(first) != 1 {
		t.Fatalf("cached: %q", first)
	}
	path := filepath.Join(s.o.Cache, first[0])
	before, err := os.Stat(path)
	must(t, err)
	again := New(s.o) // another daemon on the same cache
	must(t, again.Clean())
	again.binaryOf(t, amd)
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("packed again: %v", err)
	}
}

func TestTheCacheFollowsTheBinaries(t *testing.T) {
	s := newShelf(t)
	s.put(t, "v3.7.3/etcd", program(t, elf.EM_X86_64, 100))
	s.binaryOf(t, amd)
	old := s.cached(t)
	s.put(t, "v3.7.3/etcd", program(t, elf.EM_X86_64, 200))
	if got := s.binaryOf(t, amd); len(got) != 64+200 {
		t.Errorf("%d bytes", len(got))
	}
	fresh := s.cached(t)
	if len(fresh) != 1 || fresh[0] == old[0] {
		t.Errorf("cached %q, then %q", old, fresh)
	}

	// A form that was damaged, cut short or removed is made anew.
	path := filepath.Join(s.o.Cache, fresh[0])
	whole, err := os.ReadFile(path)
	must(t, err)
	for _, b := range [][]byte{nil, whole[:len(whole)-1], append([]byte("x"), whole[1:]...), append(slices.Clone(whole), 'x')} {
		must(t, os.WriteFile(path, b, 0o600))
		if got := New(s.o).binaryOf(t, amd); len(got) != 64+200 {
			t.Errorf("%d bytes", len(got))
		}
	}
	must(t, os.Remove(path))
	if _, err := s.Open(t.Context(), amd); err == nil {
		t.Error("what was removed is opened")
	}
	s.binaryOf(t, amd)

	// What is no binary's any more goes at the next start.
	must(t, os.WriteFile(filepath.Join(s.o.Cache, ".new-123"), nil, 0o600))
	must(t, os.RemoveAll(filepath.Join(s.o.Dir, "v3.7.3")))
	must(t, New(s.o).Clean())
	if left := s.cached(t); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestWhoGivesUpDoesNotSpoilItForOthers(t *testing.T) {
	s := newShelf(t)
	s.put(t, "v3.7.3/etcd", program(t, elf.EM_X86_64, 8<<20))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Open(ctx, amd); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	s.binaryOf(t, amd)
}
