package sim

import (
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/pki"
)

// answers is how a machine's helper behaves.
type answers int

const (
	prompt  answers = iota
	silent          // nothing comes
	refuses         // nobody listens
)

// machine is what one machine's helper keeps, its one process, and what is wrong
// with it.
type machine struct {
	w                  *World
	node               cluster.Node
	clientURL, peerURL string

	helper    answers
	slow      time.Duration // what each answer of the helper takes more
	away      bool          // nothing of it is on the network
	down      bool          // it is off
	isolated  bool          // its member does not reach its peers, nor they it
	hung      bool          // its member's process stands still
	side      int           // on which it is while the network is parted
	afar      bool          // cke does not reach it, its peers on its side do
	mute      bool          // no cke reaches its member; its peers do
	unmounted bool          // the file system of its data is absent
	full      bool          // that file system is full
	crashes   bool          // etcd ends soon after each start
	portBusy  bool
	slowDisk  bool
	skew      time.Duration // of its clock
	boots     int           // how often it came up
	rebooting bool          // it was told to reboot and is not back
	struck    time.Time     // when something befell it last
	gateway   *gateway      // nil: it has none
	// gone is since when its peers cannot know that it is gone; zero: they do.
	gone time.Time
	// placed is when somebody last put a member's data back.
	placed time.Time

	obeys    host.Identity // zero: nobody yet
	lock     chan struct{} // of mutating calls
	files    files
	versions []string
	unit     *cluster.Unit
	file     *cluster.Unit             // what systemd starts by itself; nil: nothing
	seals    map[cluster.MemberID]bool // begun; true: sealed
	dirs     map[cluster.MemberID]*replica
	aside    []host.AsideDir
	proc     *process
	exit     string
	quit     time.Time     // when the last process ended
	ended    chan struct{} // closed and replaced when a process begins or ends
	runs     int           // how many processes there were
	last     cluster.Unit  // what was run last
	again    int           // how often it was run with those settings before
}

// process is a running etcd. Its replica outlives the directory's files.
type process struct {
	*replica
	unit cluster.Unit // as started
	up   time.Time    // from when it answers
	met  time.Time    // since when its peers have it connected
}

// files are what lies in a machine's pki directory. They are replaced, never
// changed in place.
type files struct {
	public map[host.FileKind][]byte
	fits   map[host.FileKind]bool
}

func newFiles(all map[host.FileKind][]byte) files {
	f := files{map[host.FileKind][]byte{}, map[host.FileKind]bool{}}
	for k, b := range all {
		if k == host.ServerKey || k == host.PeerKey {
			f.fits[k] = true
			continue
		}
		f.public[k] = b
	}
	return f
}

func fileSet(s pki.MemberSet) map[host.FileKind][]byte {
	return map[host.FileKind][]byte{
		host.ServerCert: s.ServerCert, host.ServerKey: s.ServerKey, host.PeerCert: s.PeerCert, host.PeerKey: s.PeerKey,
		host.ClientCA: s.ClientCA, host.PeerCA: s.PeerCA, host.ClientCRL: s.CRL,
	}
}

func newMachine(w *World, n cluster.Node) *machine {
	m := &machine{
		w: w, node: n, clientURL: n.ClientURL(), peerURL: n.PeerURL(), lock: make(chan struct{}, 1), files: newFiles(nil),
		seals: map[cluster.MemberID]bool{}, dirs: map[cluster.MemberID]*replica{}, ended: make(chan struct{}),
		versions: []string{cluster.DefaultVersion},
	}
	if !n.Remote() {
		m.versions = versions()
	}
	return m
}

func (m *machine) name() cluster.NodeName { return m.node.Hostname }

// hears: its helper can be asked.
func (m *machine) hears() bool { return !m.down && !m.away && !m.afar && m.helper == prompt }

// serves clients who reach it, as far as its own process goes.
func (m *machine) open() bool { return m.proc != nil && !m.down && !m.away && !m.hung }

// answers: a cke that asks its member hears of it.
func (m *machine) answers() bool { return m.open() && !m.mute && !m.afar && !m.mistimed() }

// connected: its member reaches its peers.
func (m *machine) connected(now time.Time) bool {
	return m.open() && !m.isolated && !m.cut() && !m.mistimed() && !now.Before(m.proc.up)
}

func (m *machine) changed() {
	close(m.ended)
	m.ended = make(chan struct{})
}

func (m *machine) running(id cluster.MemberID) bool { return m.proc != nil && m.proc.unit.Member == id }

// hasData: the directory holds this member's log and mark, and is there.
func (m *machine) hasData(id cluster.MemberID) bool {
	r := m.dirs[id]
	return r != nil && r.mark && !m.unmounted
}

func (m *machine) bare() bool { return m.unit == nil && len(m.dirs) == 0 && m.proc == nil }

const (
	restartAfter = time.Second            // RestartSec of the unit
	startLeast   = 150 * time.Millisecond // until a member answers
	startMost    = 600 * time.Millisecond
	dieLeast     = 20 * time.Millisecond // until one that cannot run has ended
	dieMost      = 120 * time.Millisecond
)

// launch starts a process on what is there. One that cannot live ends by itself.
func (m *machine) launch(u cluster.Unit) {
	w, id := m.w, u.Member
	if m.seals[id] && !m.hasData(id) {
		w.violate("noStartWithoutItsData", "member %s is started on %s, where its data is gone or not mounted", id, m.name())
	}
	m.runs++
	if m.last.Member == id && m.last.SameSettings(u) {
		m.again++
	} else {
		m.last, m.again = u, 0
	}
	run := m.runs
	why := m.cannotRun(u)
	if why == "" && m.dirs[id] == nil {
		var r *replica
		if r, why = w.enter(m, u); why == "" {
			m.dirs[id] = r
		}
	}
	r := m.dirs[id]
	if r == nil {
		r = &replica{token: "none"} // of a process that ends at once
	}
	up := time.Now().Add(w.between("start "+string(m.name()), startLeast, startMost))
	if why == "" {
		r.ran = u.Version
	}
	m.proc = &process{replica: r, unit: u, up: up, met: up}
	m.exit, m.hung = "", false
	w.logf("%s: etcd %s starts", m.name(), id)
	m.changed()
	end := func(after time.Duration, why string) {
		w.after(after, "end on "+string(m.name()), func() {
			if m.proc != nil && m.runs == run {
				m.exits("exit status 1: " + why)
			}
		})
	}
	switch {
	case why != "":
		end(w.between("end "+string(m.name()), dieLeast, dieMost), why)
	case m.crashes:
		end(w.between("crash "+string(m.name()), startLeast, 2*time.Second), "panic: it crashes")
	}
}

// A flag that etcd ends with, at once, when it has this value.
const (
	badFlag  = "heartbeat-interval"
	badValue = "0"
)

func (m *machine) cannotRun(u cluster.Unit) string {
	switch {
	case m.files.public[host.ServerCert] == nil:
		return "open server.crt: no such file or directory"
	case m.portBusy:
		return "listen: address already in use"
	case u.ExtraArgs[badFlag] == badValue:
		return "invalid value for flag -" + badFlag
	case m.full:
		return "write: no space left on device"
	case !slices.Contains(m.versions, u.Version):
		return "no such program"
	case m.inconsistent(u):
		return "found data inconsistency with peers"
	case m.tooOld(u):
		return "invalid downgrade; server version is lower than determined cluster version"
	default:
		return ""
	}
}

// exits ends the process by itself; with systemd the machine starts it again.
func (m *machine) exits(why string) {
	if m.proc == nil {
		return
	}
	id := m.proc.unit.Member
	m.w.logf("%s: etcd %s ends: %s", m.name(), id, why)
	m.stopped(why)
	m.restarts(restartAfter)
}

func (m *machine) stopped(why string) {
	m.proc, m.exit, m.hung, m.quit = nil, why, false, m.w.raft.at
	m.changed()
}

// restarts has the machine itself start its sealed member, as at boot.
func (m *machine) restarts(after time.Duration) {
	run := m.runs
	m.w.after(after, "start on "+string(m.name()), func() {
		u := m.file
		if m.down || m.proc != nil || m.runs != run || u == nil || !m.seals[u.Member] || !m.hasData(u.Member) {
			return
		}
		m.launch(*u)
	})
}

// crash is what happens to a machine whose power goes.
func (m *machine) crash() {
	if m.down {
		return
	}
	if m.connected(time.Now()) {
		m.gone = time.Now()
	}
	m.down = true
	if m.proc != nil {
		m.stopped("the machine was restarted")
	}
}

// boot brings it back; what systemd has enabled starts.
func (m *machine) boot() {
	if !m.down {
		return
	}
	m.down, m.gone, m.rebooting, m.struck = false, time.Time{}, false, m.w.raft.at
	m.boots++
	m.runs++
	m.last, m.again = cluster.Unit{}, 0
	m.restarts(2 * time.Second)
}

func (m *machine) String() string {
	unit, proc := "none", "none"
	if m.unit != nil {
		unit = m.unit.Member.String()
	}
	if m.proc != nil {
		proc = fmt.Sprintf("%s at %d", m.proc.unit.Member, m.proc.index)
	}
	dirs := ""
	for _, id := range sortedIDs(m.dirs) {
		dirs += fmt.Sprintf(" %s (mark %v, sealed %v)", id, m.dirs[id].mark, m.seals[id])
	}
	return fmt.Sprintf("%s: unit %s, process %s, data%s, %d aside, helper %d away %v down %v isolated %v hung %v unmounted %v full %v crashes %v obeys %d",
		m.name(), unit, proc, dirs, len(m.aside), m.helper, m.away, m.down, m.isolated, m.hung, m.unmounted, m.full, m.crashes, m.obeys.Epoch)
}
