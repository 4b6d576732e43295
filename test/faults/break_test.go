package faults

import (
	"errors"
	"slices"
	"time"

	"cke/test/faults/schedule"
	"cke/test/lab"
)

// The command lines of a member and of the helper.
const (
	memberProcess = "^/opt/cke/etcd/.*--name=h"
	helperProcess = "cke-host.* serve"
)

// fault makes a round's fault of the lab's, on this machine.
func (r *run) fault(round schedule.Round, victim, other *lab.Machine) lab.Fault {
	amount := func(least, most int) int { return least + int(round.Amount*float64(most-least)) }
	millis := func(least, most int) time.Duration { return time.Duration(amount(least, most)) * time.Millisecond }
	switch round.Fault {
	case schedule.Calm:
		return lab.Fault{Name: "break nothing", Break: func() error { return nil }}
	case schedule.PowerOff, schedule.Dead:
		return lab.PowerOff(victim)
	case schedule.PowerCut:
		return lab.PowerCut(victim)
	case schedule.Reboot:
		return lab.Reboot(victim)
	case schedule.Cut:
		return lab.Cut(victim)
	case schedule.Partition:
		return lab.Partition([]lab.Node{victim}, r.lab.Rest(victim, r.lab.Box()))
	case schedule.BoxPartition:
		return lab.Partition([]lab.Node{victim}, []lab.Node{r.lab.Box()})
	case schedule.DropOneWay:
		if round.Amount < 0.5 {
			return lab.DropOneWay(victim, other)
		}
		return lab.DropOneWay(other, victim)
	case schedule.Loss:
		return lab.Loss(victim, amount(5, 30))
	case schedule.Delay:
		return lab.Delay(victim, millis(10, 150), millis(0, 50))
	case schedule.SlowSSH:
		return lab.SlowSSH(victim, millis(100, 1000))
	case schedule.SSHRefused:
		return lab.SSHRefused(victim)
	case schedule.EtcdBlocked:
		return lab.EtcdBlocked(victim)
	case schedule.PortClosed:
		return lab.ClientPortClosed(victim, r.lab.Box())
	default:
		return r.faultWithin(round, victim, other, amount)
	}
}

// faultWithin are the faults of machines rather than of the network, and those of
// several at once.
func (r *run) faultWithin(round schedule.Round, victim, other *lab.Machine, amount func(least, most int) int) lab.Fault {
	switch round.Fault {
	case schedule.DiskFull:
		return lab.DiskFull(victim)
	case schedule.DiskHang:
		return lab.DiskHang(victim)
	case schedule.DiskEIO:
		return lab.DiskEIO(victim)
	case schedule.SlowDisk:
		return lab.SlowDisk(victim, amount(20, 100))
	case schedule.Stall:
		return lab.Stall(victim)
	case schedule.StallEtcd:
		return r.oncePresent(victim, lab.StallProcess(victim, memberProcess))
	case schedule.KillEtcd:
		return r.oncePresent(victim, lab.Kill(victim, memberProcess))
	case schedule.KillHelper:
		return r.oncePresent(victim, lab.Kill(victim, helperProcess))
	case schedule.SlowCPU:
		return lab.SlowCPU(victim, amount(10, 40))
	case schedule.SkewClock:
		return r.skew(victim, time.Duration(amount(-40, 40))*time.Second)
	case schedule.NewDisk:
		return lab.Fault{Name: "give " + victim.Name() + " an empty disk", Break: func() error {
			return inOrder(victim.PowerCut, victim.ReplaceDataDisk, victim.On)
		}}
	case schedule.NoDisk:
		return lab.Fault{
			Name:  "boot " + victim.Name() + " without its data disk",
			Break: func() error { return inOrder(victim.PowerCut, victim.DetachDataDisk, victim.On) },
			Heal:  func() error { return inOrder(victim.Off, victim.AttachDataDisk, victim.On) },
		}
	case schedule.Corrupt:
		return r.corrupt(victim)
	case schedule.CorruptLate:
		return r.corruptLate(victim)
	case schedule.NoSpace:
		return lab.Fault{Name: "fill the quota with history", Break: r.clients.fillOnce, Heal: r.clients.empty}
	case schedule.Overfull:
		begin, end := r.clients.overfill()
		return lab.Fault{Name: "fill the quota with data", Break: begin, Heal: end}
	case schedule.Majority:
		return together("cut a majority off", lab.Cut, r.majority(victim, other))
	case schedule.Blackout:
		return together("cut the power of all", lab.PowerCut, r.lab.Machines())
	default:
		r.t.Fatalf("nobody knows how to break %s", round.Fault)
		return lab.Fault{}
	}
}

// majority are so many nodes that the others are no quorum.
func (r *run) majority(victim, other *lab.Machine) []*lab.Machine {
	all := []*lab.Machine{victim, other}
	for _, i := range r.nodes {
		if m := r.lab.Machine(i); 2*len(all) <= len(r.nodes) && !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}

// together does the same to several machines at once.
func together(name string, of func(*lab.Machine) lab.Fault, machines []*lab.Machine) lab.Fault {
	each := func(do func(lab.Fault) error) func() error {
		return func() error {
			errs := make(chan error, len(machines))
			for _, m := range machines {
				go func() { errs <- do(of(m)) }()
			}
			var all []error
			for range machines {
				all = append(all, <-errs)
			}
			return errors.Join(all...)
		}
	}
	return lab.Fault{
		Name:  name,
		Break: each(func(f lab.Fault) error { return f.Break() }),
		Heal:  each(func(f lab.Fault) error { return f.Heal() }),
	}
}

// skew shifts the clock of a machine's member, which sees it when it starts anew.
func (r *run) skew(m *lab.Machine, by time.Duration) lab.Fault {
	f, kill := lab.SkewClock(m, by), r.oncePresent(m, lab.Kill(m, memberProcess))
	return lab.Fault{
		Name:  f.Name,
		Break: func() error { return inOrder(f.Break, kill.Break) },
		Heal:  func() error { return inOrder(f.Heal, kill.Break) },
	}
}

func inOrder(steps ...func() error) error {
	for _, do := range steps {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}
