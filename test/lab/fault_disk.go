package lab

import (
	"errors"
	"fmt"
)

// The faults of disks are those of the data disk, if the machine has one that is
// not detached, and else of the disk that it runs on.

// DiskFull takes the disk's last free block.
func DiskFull(m *Machine) Fault {
	return diskFault(m, "fill the disk", (*disk).fill, (*disk).unfill)
}

// DiskHang has everything that writes to the disk wait, without an end and
// deaf to signals.
func DiskHang(m *Machine) Fault {
	return diskFault(m, "hang the disk", (*disk).freeze, (*disk).thaw)
}

// DiskEIO has every access to the disk answer with an I/O error. Healing takes
// what real disks take: the machine is without power for a moment. What it had
// not synced is lost.
func DiskEIO(m *Machine) Fault {
	f := diskFault(m, "break the disk", (*disk).shutdown, nil)
	f.Heal = func() error { return errors.Join(m.PowerCut(), m.On()) }
	return f
}

// diskFault is one that does something to the disk that etcd's data is on when
// the fault begins, and another thing to the same disk in the end.
func diskFault(m *Machine, what string, begin, end func(*disk) error) Fault {
	var broken *disk
	return Fault{
		Name: what + " of " + m.name,
		Break: func() error {
			d, err := m.etcdDisk()
			if err != nil {
				return err
			}
			broken = d
			return begin(d)
		},
		Heal: func() error {
			if broken == nil {
				return nil
			}
			return ignoring(errNotMounted, end(broken)) // the fault ended with the machine
		},
	}
}

// SlowDisk lets the machine write to the disk, and read from it, so many times a
// second.
func SlowDisk(m *Machine, iops int) Fault {
	limit := func(iops int) func(*disk) error {
		return func(d *disk) error {
			number, err := d.number()
			if err != nil {
				return err
			}
			older, unlimited := fmt.Sprintf("%s %d", number, iops), fmt.Sprintf("%s riops=%d wiops=%d", number, iops, iops)
			if iops == 0 {
				unlimited = number + " riops=max wiops=max"
			}
			return errors.Join(
				setGroup(m.name, "blkio", "blkio.throttle.write_iops_device", "io.max", older, unlimited),
				setGroup(m.name, "blkio", "blkio.throttle.read_iops_device", "io.max", older, unlimited))
		}
	}
	return diskFault(m, fmt.Sprintf("allow %d accesses a second to the disk", iops), limit(iops), limit(0))
}
