package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Keep boots n machines that stay when this process ends, until Down: for a
// person. Tests refuse to start a lab meanwhile. What to do with it is written
// to w, and a cluster.yml of all machines to spec.
func Keep(w io.Writer, n int, spec string, opts ...Option) error {
	if why := Unable(); why != "" {
		return errors.New(why)
	}
	h := defaultHome()
	lock, err := lockHome(h)
	if err != nil {
		return err
	}
	defer lock.Close()
	if exists(h.kept()) {
		return errors.New("start a lab: one is up already; `make lab-down` ends it")
	}
	if err := down(h); err != nil {
		return err
	}
	l, err := build(h, n, newOptions(opts))
	if err != nil {
		return errors.Join(err, down(h))
	}
	if err := os.WriteFile(h.kept(), nil, 0o644); err != nil {
		return errors.Join(err, down(h))
	}
	if err := os.MkdirAll(filepath.Dir(spec), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", spec, err)
	}
	if err := os.WriteFile(spec, []byte(l.spec()), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", spec, err)
	}
	l.explain(w, spec)
	return nil
}

// Image makes the machines' image, if there is none of this recipe.
func Image(w io.Writer) error {
	if why := Unable(); why != "" {
		return errors.New(why)
	}
	h := defaultHome()
	lock, err := lockHome(h)
	if err != nil {
		return err
	}
	defer lock.Close()
	began := time.Now()
	image, err := ensureImage(h)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "image %s, after %s\n", image, time.Since(began).Round(time.Millisecond))
	return nil
}

// DownLocked is Down for a person: it waits for a test that has the lab.
func DownLocked() error {
	h := defaultHome()
	lock, err := lockHome(h)
	if err != nil {
		return err
	}
	defer lock.Close()
	return down(h)
}

// spec is a cluster.yml of all machines.
func (l *Lab) spec() string {
	var b strings.Builder
	b.WriteString("name: main\nnodes:\n")
	for _, m := range l.machines {
		fmt.Fprintf(&b, "  - {address: %s, hostname: %s, control_plane: true, user: root}\n", m.addr, m.name)
	}
	// The machines' disks are small, and share the box's with everything else.
	b.WriteString("etcd: {quota: 256MiB}\npreflight: {max_fsync: 10s}\n")
	return b.String()
}

func (l *Lab) explain(w io.Writer, spec string) {
	fmt.Fprintf(w, "%d machines, up after %s; this box is %s\n", len(l.machines), l.booted.Round(10*time.Millisecond), l.box.addr)
	for _, m := range l.machines {
		fmt.Fprintf(w, "  %-4s %s\n", m.name, m.addr)
	}
	fmt.Fprintf(w, "log in, as root, ops or cke:\n  ssh -i %s root@%s\n", l.KeyFile(), l.machines[0].addr)
	fmt.Fprintf(w, "a cluster of them is described in %s\n`make lab-down` ends the lab\n", spec)
}
