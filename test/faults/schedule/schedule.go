// Package schedule draws what is broken and what is asked of CKE, round after
// round, from a seed: the same seed gives the same rounds for ever. It knows
// kinds and numbers only; who carries them out is the caller's.
//
// Each kind of fault and of operation comes up once before any comes up again.
// At any time one machine at most is broken, but for the faults that are named
// for breaking more.
package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Fault is a kind of fault.
type Fault string

// The faults, by what they are called in the lab.
const (
	Calm         Fault = "nothing"
	PowerOff     Fault = "PowerOff"
	PowerCut     Fault = "PowerCut"
	Reboot       Fault = "Reboot"
	Cut          Fault = "Cut"
	Partition    Fault = "Partition" // from the other machines; clients and CKE reach it
	BoxPartition Fault = "Partition from the box"
	DropOneWay   Fault = "DropOneWay"
	Loss         Fault = "Loss"
	Delay        Fault = "Delay"
	SlowSSH      Fault = "SlowSSH"
	SSHRefused   Fault = "SSHRefused"
	EtcdBlocked  Fault = "EtcdBlocked"
	PortClosed   Fault = "ClientPortClosed" // to the box; its peers reach it
	DiskFull     Fault = "DiskFull"
	DiskHang     Fault = "DiskHang"
	DiskEIO      Fault = "DiskEIO"
	SlowDisk     Fault = "SlowDisk"
	Stall        Fault = "Stall"
	StallEtcd    Fault = "StallProcess etcd"
	KillEtcd     Fault = "Kill etcd"
	KillHelper   Fault = "Kill cke-host"
	SlowCPU      Fault = "SlowCPU"
	SkewClock    Fault = "SkewClock"               // of the member, which is killed for that
	NewDisk      Fault = "an empty disk"           // the old one is gone for good
	NoDisk       Fault = "without its data disk"   // it boots so, and has the disk again when it is healed
	Corrupt      Fault = "a changed database"      // on the disk, while the machine was off
	CorruptLate  Fault = "CORRUPT"                 // the same, and its member does not notice when it starts
	NoSpace      Fault = "NOSPACE by history"      // a tenant's, of few keys
	Overfull     Fault = "NOSPACE by data"         // a tenant's, which deletes it when it is healed
	Dead         Fault = "PowerOff until replaced" // by a spare, and by CKE itself
	Majority     Fault = "Cut of a majority"
	Blackout     Fault = "PowerCut of all"
)

// Faults are all kinds there are.
func Faults() []Fault {
	return []Fault{
		Calm, PowerOff, PowerCut, Reboot, Cut, Partition, BoxPartition, DropOneWay, Loss, Delay, SlowSSH, SSHRefused,
		EtcdBlocked, PortClosed, DiskFull, DiskHang, DiskEIO, SlowDisk, Stall, StallEtcd, KillEtcd, KillHelper, SlowCPU, SkewClock,
		NewDisk, NoDisk, Corrupt, CorruptLate, NoSpace, Overfull, Dead, Majority, Blackout,
	}
}

// Outage says whether the cluster cannot serve while the fault lasts.
func (f Fault) Outage() bool { return f == Majority || f == Blackout }

// Refuses says whether no client's writes are done while it lasts, and reads are.
func (f Fault) Refuses() bool { return f == NoSpace || f == Overfull || f == CorruptLate }

// Silences says whether its victim serves nobody while it lasts.
func (f Fault) Silences() bool {
	return slices.Contains([]Fault{PowerOff, PowerCut, Cut, EtcdBlocked, Stall, StallEtcd, NoDisk, Dead, Majority, Blackout}, f)
}

// Stalls says whether its victim stands still while it lasts, or nearly, and goes
// on afterwards as if nothing had been.
func (f Fault) Stalls() bool {
	return slices.Contains([]Fault{Stall, StallEtcd, DiskHang, SlowDisk, SlowCPU}, f)
}

// Operation is a kind of operation of CKE's.
type Operation string

// The operations.
const (
	None     Operation = "nothing"
	Add      Operation = "add a node"
	Remove   Operation = "remove a node"
	Replace  Operation = "replace a node"
	Rotate   Operation = "rotate certificates"
	Settings Operation = "change settings"
	Tenant   Operation = "add and remove a user"
	Backup   Operation = "local backup"
	Pause    Operation = "pause and resume"
	Clean    Operation = "clean nodes"
	State    Operation = "state backup"
	Version  Operation = "change etcd's version"
	Defrag   Operation = "defragment"
	Drain    Operation = "drain and undrain" // of the round's other machine
	Restart  Operation = "reboot by CKE"     // the same
)

// Operations are all kinds there are.
func Operations() []Operation {
	return []Operation{None, Add, Remove, Replace, Rotate, Settings, Tenant, Backup, Pause, Clean, State, Version, Defrag, Drain, Restart}
}

// Daemons is what becomes of the two cke, and of the store that they share.
type Daemons string

// The ways of daemons. Who is ended is started again.
const (
	Left         Daemons = "left alone"
	KillLeader   Daemons = "kill -9 of the cke that leads"
	FreezeLeader Daemons = "SIGSTOP of the cke that leads until the other does, then SIGCONT"
	EndLeader    Daemons = "SIGTERM of the cke that leads"
	KillBoth     Daemons = "kill -9 of both cke"
	KillStore    Daemons = "kill -9 of cke's store"
)

// AllDaemons are all kinds there are.
func AllDaemons() []Daemons {
	return []Daemons{Left, KillLeader, FreezeLeader, EndLeader, KillBoth, KillStore}
}

// Spec is what is wanted of the cluster, in numbers.
type Spec struct {
	Nodes    []int // machines, sorted
	Domain   int   // how often it was changed
	Settings int
	// Older: the minor version before.
	Older bool
}

// Round is a fault and an operation that meet.
type Round struct {
	N     int
	Fault Fault
	// Leader: the fault's victim is whoever leads then, else it is Victim, one of
	// the nodes before the operation.
	Leader bool
	Victim int
	// Amount is between 0 and 1, how bad a fault is that can be more or less.
	Amount float64
	// Other is a node, not the victim, for faults between two and for maintenance.
	Other int
	// Spare is the machine that comes in the place of a dead one.
	Spare int
	Hold  time.Duration // how long it lasts at least

	Operation Operation
	// First: the fault meets an operation that has begun, else one that begins.
	First bool
	Lag   time.Duration // from the one to the other
	Spec  Spec          // wanted after it
	// Daemons comes so long after the operation or the fault, whichever is later.
	Daemons Daemons
	After   time.Duration
}

// String is one line.
func (r Round) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d. %s", r.N, r.Fault)
	if r.Fault != Calm && r.Fault != Blackout && r.Fault != NoSpace && r.Fault != Overfull {
		victim := fmt.Sprintf("h%d", r.Victim)
		if r.Leader {
			victim = "leader"
		}
		fmt.Fprintf(&b, " (%s, %.2f, h%d)", victim, r.Amount, r.Other)
	}
	meets := "then after"
	if r.First {
		meets = "before it by"
	}
	fmt.Fprintf(&b, " for %s; %s %s: %s", r.Hold, meets, r.Lag, r.Operation)
	switch r.Operation {
	case Add, Remove, Replace:
		fmt.Fprintf(&b, ", nodes %v", r.Spec.Nodes)
	case Version:
		if r.Spec.Older {
			b.WriteString(", down")
		} else {
			b.WriteString(", up")
		}
	case Drain, Restart:
		fmt.Fprintf(&b, ", h%d", r.Other)
	default: // it says it all
	}
	if r.Spare > 0 {
		fmt.Fprintf(&b, "; h%d comes in its place", r.Spare)
	}
	if r.Daemons != Left {
		fmt.Fprintf(&b, "; %s later %s", r.After, r.Daemons)
	}
	return b.String()
}

// Schedule draws rounds.
type Schedule struct {
	r        *rand.Rand
	machines int
	faults   deck[Fault]
	ops      deck[Operation]
	daemons  deck[Daemons]
	spec     Spec
	n        int
}

// The nodes of a cluster are never fewer.
const minNodes = 3

// New is a schedule for so many machines, the first of which are the nodes in the
// beginning.
func New(seed uint64, machines, nodes int) *Schedule {
	s := &Schedule{r: rand.New(rand.NewPCG(seed, 5)), machines: machines} //nolint:gosec // it is to be foretold
	s.faults, s.ops = deck[Fault]{all: Faults()}, deck[Operation]{all: Operations()}
	s.daemons.all = AllDaemons()
	for range 8 { // to be left alone is the most common
		s.daemons.all = append(s.daemons.all, Left)
	}
	for i := 1; i <= nodes; i++ {
		s.spec.Nodes = append(s.spec.Nodes, i)
	}
	return s
}

// Pass is how many rounds it takes until every kind came up.
func Pass() int { return max(len(Faults()), len(Operations())) }

// Next draws a round.
func (s *Schedule) Next() Round {
	s.n++
	r := Round{
		N: s.n, Fault: s.faults.draw(s.r), Leader: s.r.IntN(3) == 0, Victim: s.one(s.spec.Nodes),
		Amount: s.r.Float64(), Hold: s.between(3*time.Second, 6*time.Second),
		First: s.r.IntN(2) == 0, Lag: s.between(0, 2*time.Second),
		Daemons: Left,
	}
	r.Other = s.one(slices.DeleteFunc(slices.Clone(s.spec.Nodes), func(i int) bool { return i == r.Victim }))
	if r.Fault == Dead && len(s.spec.Nodes) == s.machines {
		r.Fault = PowerOff // nobody is left to come in its place
	}
	if r.Fault == Dead { // CKE has its hands full
		r.Leader, r.Operation, r.Spare = false, None, s.one(s.spare())
		s.drop(r.Victim)
		s.spec.Nodes = append(s.spec.Nodes, r.Spare)
	} else {
		r.Operation = s.possible(s.ops.draw(s.r))
		r.Daemons, r.After = s.daemons.draw(s.r), s.between(100*time.Millisecond, 2*time.Second)
	}
	s.apply(r.Operation)
	r.Spec = s.spec
	r.Spec.Nodes = slices.Clone(s.spec.Nodes)
	return r
}

// possible makes an operation one that the number of machines lets do.
func (s *Schedule) possible(o Operation) Operation {
	switch {
	case o == Add && len(s.spec.Nodes) == s.machines:
		return Remove
	case o == Remove && len(s.spec.Nodes) == minNodes:
		return Add
	case o == Replace && len(s.spec.Nodes) == s.machines:
		return Remove
	}
	return o
}

// spare are the machines that are no nodes.
func (s *Schedule) spare() []int {
	var spare []int
	for i := 1; i <= s.machines; i++ {
		if !slices.Contains(s.spec.Nodes, i) {
			spare = append(spare, i)
		}
	}
	return spare
}

func (s *Schedule) apply(o Operation) {
	switch o {
	case Add:
		s.spec.Nodes = append(s.spec.Nodes, s.one(s.spare()))
	case Remove:
		s.drop(s.one(s.spec.Nodes))
	case Replace:
		gone, come := s.one(s.spec.Nodes), s.one(s.spare())
		s.drop(gone)
		s.spec.Nodes = append(s.spec.Nodes, come)
	case Rotate:
		s.spec.Domain++
	case Settings:
		s.spec.Settings++
	case Version:
		s.spec.Older = !s.spec.Older
	default: // the spec stays
	}
	slices.Sort(s.spec.Nodes)
}

func (s *Schedule) drop(node int) {
	s.spec.Nodes = slices.DeleteFunc(s.spec.Nodes, func(i int) bool { return i == node })
}

func (s *Schedule) one(of []int) int { return of[s.r.IntN(len(of))] }

// between is rounded, for the reader.
func (s *Schedule) between(from, to time.Duration) time.Duration {
	return (from + time.Duration(s.r.Int64N(int64(to-from)))).Round(100 * time.Millisecond)
}

// deck gives each of its cards once before any comes up again.
type deck[T any] struct{ all, left []T }

func (d *deck[T]) draw(r *rand.Rand) T {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.all)
		r.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	card := d.left[0]
	d.left = d.left[1:]
	return card
}
