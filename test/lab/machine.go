package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Machine is one of the lab's.
type Machine struct {
	home  home
	image string
	dir   string // holds everything of this machine
	name  string
	addr  netip.Addr
	root  *disk // nil: it has no disk of its own
	data  *disk // nil: it has no data disk

	mu       sync.Mutex // held while the power or the disks change
	detached bool       // boot without the data disk
	cut      bool       // its cable is out
}

func newMachine(h home, image string, i int, o options) *Machine {
	m := &Machine{home: h, image: image, dir: h.of(i), name: machineName(i), addr: address(byte(firstHost + i - 1))}
	if o.disk != "" {
		m.root = &disk{m.dir, "disk", o.disk}
	}
	if o.dataDisk != "" {
		m.data = &disk{m.dir, "data", o.dataDisk}
	}
	return m
}

// Name is the machine's hostname, such as h1.
func (m *Machine) Name() string { return m.name }

// Addr is the machine's address.
func (m *Machine) Addr() netip.Addr { return m.addr }

func (m *Machine) String() string { return m.name }

func (m *Machine) console() string { return filepath.Join(m.dir, "console.log") }

func (m *Machine) disks() []*disk {
	var all []*disk
	for _, d := range []*disk{m.root, m.data} {
		if d != nil {
			all = append(all, d)
		}
	}
	return all
}

// etcdDisk is the disk that etcd's data is on.
func (m *Machine) etcdDisk() (*disk, error) {
	switch {
	case m.data != nil && !m.detached:
		return m.data, nil
	case m.root != nil:
		return m.root, nil
	}
	return nil, fmt.Errorf("find a disk of %s: it has none of its own", m.name)
}

// install makes the machine's disks, and writes what tells it from the others,
// which its first boot copies to /etc.
func (m *Machine) install(all []*Machine) error {
	id, err := command("systemd-id128", "new")
	if err != nil {
		return err
	}
	hosts := "127.0.0.1 localhost\n"
	for _, o := range all {
		hosts += o.addr.String() + " " + o.name + "\n"
	}
	first := filepath.Join(m.dir, "first")
	if err := os.MkdirAll(first, 0o755); err != nil {
		return fmt.Errorf("install %s: %w", m.name, err)
	}
	for name, text := range map[string]string{"hostname": m.name + "\n", "hosts": hosts, "machine-id": id} {
		if err := os.WriteFile(filepath.Join(first, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("install %s: %w", m.name, err)
		}
	}
	for _, d := range m.disks() {
		if err := d.format(); err != nil {
			return err
		}
	}
	return nil
}

// sync writes to the machine's own disks what is not there yet.
func (m *Machine) sync() error {
	var errs []error
	for _, d := range m.disks() {
		errs = append(errs, d.sync())
	}
	return errors.Join(errs...)
}

// DetachDataDisk takes the data disk out of a machine that is off: it boots
// without it, and DataDir is then a directory of its root disk.
func (m *Machine) DetachDataDisk() error {
	return m.changeDataDisk(func() error { m.detached = true; return nil })
}

// AttachDataDisk puts the data disk back into a machine that is off.
func (m *Machine) AttachDataDisk() error {
	return m.changeDataDisk(func() error { m.detached = false; return nil })
}

// ReplaceDataDisk puts a new and empty data disk into a machine that is off.
func (m *Machine) ReplaceDataDisk() error {
	return m.changeDataDisk(func() error {
		m.detached = false
		if err := os.Remove(m.data.image()); err != nil {
			return err
		}
		return m.data.format()
	})
}

func (m *Machine) changeDataDisk(change func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.data == nil {
		return fmt.Errorf("change the data disk of %s: it was started without one", m.name)
	}
	if m.leader() != 0 {
		return fmt.Errorf("change the data disk of %s: it is on", m.name)
	}
	return change()
}

// Console is the last of what the machine wrote to its console.
func (m *Machine) Console() string {
	text, err := os.ReadFile(m.console())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
