// Package release knows the etcd binaries that this cke can hand out, and keeps
// each in the form in which it travels. It promises that what Open returns is
// the binary that lies in the releases directory at that time, packed.
package release

import (
	"cmp"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

var versionDir = regexp.MustCompile(`^v((0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3}))$`)

// ErrNone says that there is no binary of that version and architecture.
var ErrNone = errors.New("no such binary is in the releases directory")

// Options for New.
type Options struct {
	// Dir holds v<version>/etcd, for any one architecture, and for others
	// v<version>/etcd-linux-<arch>.
	Dir string
	// Cache holds the packed forms; it is made when needed and is only this
	// Shelf's.
	Cache string
	Log   *slog.Logger
}

// Shelf is the releases directory with its cache. It is safe for concurrent use.
type Shelf struct {
	o Options

	mu    sync.Mutex
	files map[string]file           // by path
	packs map[cluster.Release]*once // by what is asked for
}

// file is what is known of a binary while it does not change.
type file struct {
	at   stamp
	arch string // empty: it is no program for Linux
}

type stamp struct {
	mtime time.Time
	size  int64
}

// once is one packing, waited for by all who need it.
type once struct {
	at   stamp
	done chan struct{}
	info host.Release
	path string // of the packed form
	err  error
}

// New returns a shelf; nothing on disk is touched.
func New(o Options) *Shelf {
	return &Shelf{o: o, files: map[string]file{}, packs: map[cluster.Release]*once{}}
}

// Have lists what can be handed out, sorted. It reads a few bytes of each file it
// has not seen, and only looks at the others.
func (s *Shelf) Have() []cluster.Release {
	var out []cluster.Release
	for r := range s.find() {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b cluster.Release) int {
		return cmp.Or(strings.Compare(a.Version, b.Version), strings.Compare(a.Arch, b.Arch))
	})
	return out
}

// find returns the path of each binary.
func (s *Shelf) find() map[cluster.Release]string {
	out := map[cluster.Release]string{}
	dirs, err := os.ReadDir(s.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.o.Log.Warn("look at the releases", "err", err)
	}
	for _, d := range dirs {
		m := versionDir.FindStringSubmatch(d.Name())
		if m == nil {
			continue
		}
		// In this order: a file that names its architecture comes before the others.
		paths, _ := filepath.Glob(filepath.Join(s.o.Dir, d.Name(), "etcd-linux-*")) // the pattern is well formed
		for _, path := range append(paths, filepath.Join(s.o.Dir, d.Name(), "etcd")) {
			arch := s.archOf(path)
			named, names := strings.CutPrefix(filepath.Base(path), "etcd-linux-")
			r := cluster.Release{Version: m[1], Arch: arch}
			if _, taken := out[r]; arch == "" || names && named != arch || taken {
				continue
			}
			out[r] = path
		}
	}
	return out
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return stamp{}, fmt.Errorf("%s is no file", path)
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

// archOf reads the architecture out of the program itself.
func (s *Shelf) archOf(path string) string {
	at, err := stampOf(path)
	if err != nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.files[path]; ok && f.at == at {
		return f.arch
	}
	f := file{at: at}
	if e, err := elf.Open(path); err == nil {
		f.arch = archs()[e.Machine]
		_ = e.Close() // it was only read
	}
	s.files[path] = f
	return f.arch
}

// archs are the architectures of Linux in Go's words.
func archs() map[elf.Machine]string {
	return map[elf.Machine]string{
		elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm",
		elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x", elf.EM_RISCV: "riscv64", elf.EM_LOONGARCH: "loong64",
	}
}

// Packed is a release ready to travel. Close it.
type Packed struct {
	Info host.Release
	io.ReadSeekCloser
}

// Open returns a release in its packed form, packing it if that was not done
// yet: that takes a moment, which all who ask meanwhile share.
func (s *Shelf) Open(ctx context.Context, r cluster.Release) (Packed, error) {
	path, ok := s.find()[r]
	if !ok {
		return Packed{}, fmt.Errorf("open etcd %s for %s: %w", r.Version, r.Arch, ErrNone)
	}
	at, err := stampOf(path)
	if err != nil {
		return Packed{}, fmt.Errorf("open etcd %s for %s: %w", r.Version, r.Arch, err)
	}
	s.mu.Lock()
	o := s.packs[r]
	if o == nil || o.at != at || o.failed() {
		o = &once{at: at, done: make(chan struct{})}
		s.packs[r] = o
		// Whoever came first may give up; the others go on waiting.
		go s.pack(context.WithoutCancel(ctx), r, path, o)
	}
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return Packed{}, ctx.Err()
	case <-o.done:
	}
	if o.err != nil {
		return Packed{}, fmt.Errorf("pack etcd %s for %s: %w", r.Version, r.Arch, o.err)
	}
	f, err := os.Open(o.path)
	if err != nil {
		s.forget(r, o) // someone emptied the cache
		return Packed{}, fmt.Errorf("open etcd %s for %s: %w", r.Version, r.Arch, err)
	}
	return Packed{o.info, f}, nil
}

// failed: it is over and there is no use in it.
func (o *once) failed() bool {
	select {
	case <-o.done:
		return o.err != nil
	default:
		return false
	}
}

func (s *Shelf) forget(r cluster.Release, o *once) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.packs[r] == o {
		delete(s.packs, r)
	}
}

// summed counts and hashes what is read.
type summed struct {
	r io.Reader
	h hash.Hash
	n int64
}

func newSummed(r io.Reader) *summed { return &summed{r: r, h: sha256.New()} }

func (s *summed) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.n += int64(n)
	_, _ = s.h.Write(b[:n]) // a hash takes everything
	return n, err
}

func (s *summed) sum() string { return hex.EncodeToString(s.h.Sum(nil)) }
