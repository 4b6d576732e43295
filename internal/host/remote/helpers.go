package remote

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"weak"
)

// arches are the architectures there are helpers for, as `uname -m` and as Go
// call them.
func arches() []arch {
	return []arch{{"x86_64", "amd64", elf.EM_X86_64}, {"aarch64", "arm64", elf.EM_AARCH64}}
}

type arch struct {
	uname, name string
	machine     elf.Machine
}

// helpers are the programs to be installed on machines. Which they are is
// settled when they are first needed: a file that is exchanged later belongs to
// another cke, which will be started soon.
type helpers struct {
	dir string

	mu   sync.Mutex
	sums map[string]string // by Go's name of the architecture
	// loaded are those being uploaded: twenty machines at once share one copy,
	// and afterwards there is none.
	loaded map[string]weak.Pointer[program]
}

// program is a helper as it is uploaded.
type program struct {
	bytes []byte
	sum   string
}

func newHelpers(dir string) *helpers {
	return &helpers{dir: dir, sums: map[string]string{}, loaded: map[string]weak.Pointer[program]{}}
}

// paths are where the helper of an architecture may lie, in order.
func (h *helpers) paths(arch string) []string {
	named := filepath.Join(h.dir, "cke-host-linux-"+arch)
	if arch == runtime.GOARCH {
		return []string{filepath.Join(h.dir, "cke-host"), named}
	}
	return []string{named}
}

// path is where it lies, or should.
func (h *helpers) path(arch string) string {
	paths := h.paths(arch)
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return paths[0]
}

// sum is the SHA-256 of the helper for an architecture, in hex. The error wraps
// fs.ErrNotExist when there is none.
func (h *helpers) sum(arch string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.sums[arch]; ok {
		return s, nil
	}
	program, err := h.read(arch)
	if err != nil {
		return "", err
	}
	h.sums[arch] = sumOf(program)
	return h.sums[arch], nil
}

// program is the helper itself, as it was when sum was first asked.
func (h *helpers) program(arch string) (*program, error) {
	want, err := h.sum(arch)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.loaded[arch].Value(); p != nil {
		return p, nil
	}
	b, err := h.read(arch)
	if err != nil {
		return nil, err
	}
	if sumOf(b) != want {
		return nil, fmt.Errorf("%s has changed since cke was started: start cke again", h.path(arch))
	}
	p := &program{b, want}
	h.loaded[arch] = weak.Make(p)
	return p, nil
}

func sumOf(program []byte) string {
	s := sha256.Sum256(program)
	return hex.EncodeToString(s[:])
}

func (h *helpers) read(name string) ([]byte, error) {
	path := h.path(name)
	f, err := elf.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no helper for %s: %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the helper %s: %w", path, err)
	}
	machine := f.Machine
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("read the helper %s: %w", path, err)
	}
	for _, a := range arches() {
		if a.name == name && a.machine != machine {
			return nil, fmt.Errorf("the helper %s is a program for %s, not for %s", path, machine, name)
		}
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the helper: %w", err)
	}
	return program, nil
}
