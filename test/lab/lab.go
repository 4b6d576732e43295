// Package lab gives tests real machines on one Linux box: each has its own
// systemd as PID 1, sshd, journal, disk and network, and can be switched off,
// cut off, starved and broken in the ways real machines are.
//
// A test starts a lab and breaks it:
//
//	l := lab.Start(t, 3, lab.DataDisk("1G"))
//	h1 := l.Machine(1)
//	heal := l.Break(t, lab.Partition([]lab.Node{h1}, l.Rest(h1)))
//	…
//	heal()
//
// The package promises that a lab leaves nothing behind: when the test ends,
// fails, panics or is killed, every fault is healed and every process, mount,
// loop device, namespace, control group and route of the lab is gone. Nothing
// in a lab can reach another network, and nothing in it can set the box's clock.
//
// Machines are named h1, h2, … and have the addresses 10.77.0.11, 10.77.0.12, …;
// the box itself is 10.77.0.1. docs/LAB.md has the table of faults, and how the
// lab is built and why is in DESIGN.md.
package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Lab is a set of machines on one switch, and the box they are all on.
type Lab struct {
	home     home
	machines []*Machine
	box      *Box
	booted   time.Duration
	end      func() error // of a lab that was opened
}

// Node is an end of the network: a machine, or the box.
type Node interface {
	Name() string
	Addr() netip.Addr
}

// Box is the machine that the lab runs on, as the lab's network sees it.
type Box struct{ addr netip.Addr }

// Name is "box".
func (*Box) Name() string { return "box" }

// Addr is the address at which the machines reach the box.
func (b *Box) Addr() netip.Addr { return b.addr }

// Machine returns machine number i, counted from 1 as in its name.
func (l *Lab) Machine(i int) *Machine { return l.machines[i-1] }

// Machines returns them all.
func (l *Lab) Machines() []*Machine { return append([]*Machine(nil), l.machines...) }

// Box returns the box.
func (l *Lab) Box() *Box { return l.box }

// Rest returns every node but these, the box included.
func (l *Lab) Rest(but ...Node) []Node {
	var rest []Node
	for _, n := range l.nodes() {
		if !contains(but, n) {
			rest = append(rest, n)
		}
	}
	return rest
}

func (l *Lab) nodes() []Node {
	all := []Node{l.box}
	for _, m := range l.machines {
		all = append(all, m)
	}
	return all
}

func contains(nodes []Node, n Node) bool {
	for _, other := range nodes {
		if other.Addr() == n.Addr() {
			return true
		}
	}
	return false
}

// KeyFile is the path of the private key that root, ops and cke accept on every
// machine.
func (l *Lab) KeyFile() string { return l.home.key() }

// BootTime is how long it took from nothing to the last machine's sshd.
func (l *Lab) BootTime() time.Duration { return l.booted }

// build makes the switch and boots n machines at once. Whatever it leaves when
// it fails, Down removes.
func build(h home, n int, o options) (*Lab, error) {
	if n < 1 || n > maxMachines {
		return nil, fmt.Errorf("start %d machines: a lab has 1 to %d", n, maxMachines)
	}
	image, err := ensureImage(h)
	if err != nil {
		return nil, err
	}
	began := time.Now() // the image is made once, not per lab
	if err := os.MkdirAll(h.run(), 0o755); err != nil {
		return nil, fmt.Errorf("make %s: %w", h.run(), err)
	}
	if err := makeSwitch(); err != nil {
		return nil, err
	}
	l := &Lab{home: h, box: &Box{address(boxHost)}}
	for i := 1; i <= n; i++ {
		l.machines = append(l.machines, newMachine(h, image, i, o))
	}
	err = eachMachine(l.machines, func(m *Machine) error {
		if err := m.install(l.machines); err != nil {
			return err
		}
		return errors.Join(m.On(), m.sync()) // who it is, a power cut shall not take
	})
	if err != nil {
		return nil, err
	}
	l.booted = time.Since(began)
	return l, nil
}

// eachMachine does something to all machines at the same time.
func eachMachine(machines []*Machine, do func(*Machine) error) error {
	errs := make([]error, len(machines))
	var wg sync.WaitGroup
	for i, m := range machines {
		wg.Go(func() { errs[i] = do(m) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// home is the directory of everything the lab keeps: the image and the keys,
// which stay, and run/, which lives as long as a lab.
type home string

// defaultHome is /var/tmp/cke-lab, or what CKE_LAB_HOME says: it must be on a
// file system that overlays and loop devices work on, so not on a tmpfs.
func defaultHome() home {
	if dir := os.Getenv("CKE_LAB_HOME"); dir != "" {
		return home(dir)
	}
	return "/var/tmp/cke-lab"
}

func (h home) run() string         { return filepath.Join(string(h), "run") }
func (h home) key() string         { return filepath.Join(string(h), "keys", "id") }
func (h home) lock() string        { return filepath.Join(string(h), "lock") }
func (h home) kept() string        { return filepath.Join(h.run(), "kept") }
func (h home) program() string     { return filepath.Join(string(h), "bin", "lab") }
func (h home) of(i int) string     { return filepath.Join(h.run(), machineName(i)) }
func machineName(i int) string     { return "h" + strconv.Itoa(i) }
func address(host byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, host}) }

const (
	boxHost     = 1   // 10.77.0.1
	bridgeHost  = 254 // the switch's own, from which it refuses connections
	firstHost   = 11  // h1
	maxMachines = 100
)
