package plan

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"cke/internal/cluster"
)

// box is a simulated host: what its helper keeps on disk, and the one process.
type box struct {
	node cluster.Node

	helperAway bool // the helper cannot be reached
	netAway    bool // neither helper nor member can
	isolated   bool // the member does not reach its peers
	fenced     bool
	unmounted  bool
	portBusy   bool
	noVersion  bool
	full       bool // no room for its members' data
	slowDisk   bool // too slow to carry a member
	boots      int

	certs   bool // installed; without them etcd ends at its start
	certDue bool // something is wrong with them, but etcd runs

	client    bool // the API server's files are there
	clientDue bool // and work, but something is wrong with them
	gateway   *cluster.GatewayState

	unit  *cluster.Unit
	file  *cluster.Unit             // what systemd starts by itself; never changed in place
	seals map[cluster.MemberID]bool // begun; true: sealed
	dirs  map[cluster.MemberID]*replica
	proc  *process
	ended cluster.MemberID // whose last process ended by itself
	// roomless: it said that there is no room.
	roomless bool
	// last is what was run last, again how often it was run with those settings before.
	last  cluster.Unit
	again int
}

// process is a running etcd. Its replica outlives the directory's files.
type process struct {
	*replica
	unit cluster.Unit // as started
	up   time.Time    // since when its peers see it
	// staleCA: it read other certificate authorities at its start.
	staleCA bool
}

var (
	errAway      = errors.New("the host does not answer")
	errFenced    = errors.New("the host obeys another")
	errGuard     = errors.New("the host's guard refuses")
	errEnds      = errors.New("etcd ends right after its start")
	errNoVersion = errors.New("the version is not installed")
	errNoWAL     = errors.New("the first WAL does not come")
)

func (b *box) clone() *box {
	c := *b
	c.seals = maps.Clone(b.seals)
	copies := map[*replica]*replica{}
	again := func(r *replica) *replica {
		if copies[r] == nil {
			v := *r
			copies[r] = &v
		}
		return copies[r]
	}
	c.dirs = map[cluster.MemberID]*replica{}
	for id, r := range b.dirs {
		c.dirs[id] = again(r)
	}
	if b.gateway != nil {
		g := *b.gateway
		c.gateway = &g
	}
	if b.unit != nil {
		u := *b.unit
		c.unit = &u
	}
	if b.proc != nil {
		p := *b.proc
		p.replica = again(p.replica)
		c.proc = &p
	}
	return &c
}

func (b *box) reach() error {
	if b.helperAway || b.netAway {
		return errAway
	}
	return nil
}

func (b *box) admit() error {
	if err := b.reach(); err != nil {
		return err
	}
	if b.fenced {
		return errFenced
	}
	return nil
}

func (b *box) bare() bool { return b.unit == nil && len(b.dirs) == 0 && b.proc == nil }

// hasData: the directory holds this member's WAL and mark, and is there.
func (b *box) hasData(id cluster.MemberID) bool {
	r := b.dirs[id]
	return r != nil && r.mark && !b.unmounted
}

func (b *box) runs(id cluster.MemberID) bool { return b.proc != nil && b.proc.unit.Member == id }

func (h *hand) putFiles(b *box) error {
	if err := b.admit(); err != nil {
		return err
	}
	return h.does("put files on "+string(b.node.Hostname), func() error {
		b.certs, b.certDue = true, false
		return nil
	})
}

func (h *hand) putRelease(b *box) error {
	if err := b.admit(); err != nil {
		return err
	}
	return h.does("put etcd on "+string(b.node.Hostname), func() error { b.noVersion = false; return nil })
}

func (h *hand) installUnit(b *box, u cluster.Unit) error {
	if err := b.admit(); err != nil {
		return err
	}
	if old := b.unit; old != nil && old.Member != u.Member && (b.runs(old.Member) || b.dirs[old.Member] != nil) {
		return fmt.Errorf("%w: member %s is still here", errGuard, old.Member)
	}
	what := "install unit of " + u.Member.String() + " on " + string(b.node.Hostname)
	if b.ofSystemd() && b.seals[u.Member] && !b.keeps(u) {
		if err := h.does(what+" in systemd", func() error { b.keep(u); return nil }); err != nil {
			return err
		}
	}
	return h.does(what, func() error {
		b.unit = &u
		return nil
	})
}

// startUnit follows the host's guard and its seal, one effect at a time.
func (h *hand) startUnit(b *box) error {
	if err := b.admit(); err != nil {
		return err
	}
	u, id := *b.unit, b.unit.Member
	name := id.String() + " on " + string(b.node.Hostname)
	sealed, known := b.seals[id]
	if known && b.unmounted {
		return fmt.Errorf("%w: not mounted", errGuard)
	}
	switch {
	case b.runs(id):
	case b.noVersion:
		return errNoVersion
	case sealed && !b.hasData(id):
		return fmt.Errorf("%w: data lost", errGuard)
	case b.dirs[id] != nil && !known:
		return fmt.Errorf("%w: foreign data", errGuard)
	case !sealed && b.dirs[id] == nil && u.Founding == nil:
		return fmt.Errorf("%w: not founding", errGuard)
	}
	if !known {
		if err := h.does("begin seal of "+name, func() error { b.seals[id] = false; return nil }); err != nil {
			return err
		}
	}
	if !b.runs(id) {
		if err := h.does("run "+name, func() error {
			if b.file = nil; sealed {
				b.keep(u)
			}
			return h.s.run(b, u)
		}); err != nil {
			return err
		}
	}
	if sealed {
		return nil
	}
	if b.dirs[id] == nil {
		return errNoWAL // wiped under the process
	}
	if err := h.does("mark "+name, func() error { b.dirs[id].mark = true; return nil }); err != nil {
		return err
	}
	return h.does("seal "+name, func() error {
		b.keep(u)
		b.seals[id] = true
		return nil
	})
}

// run is what etcd does at its start.
func (s *sim) run(b *box, u cluster.Unit) error {
	if b.ended, b.roomless = 0, b.full; b.last.Member == u.Member && b.last.SameSettings(u) {
		b.again++
	} else {
		b.last, b.again = u, 0
	}
	if !b.certs || b.portBusy || b.full || !worksWith(u) || s.tooOld(u) {
		b.ended = u.Member
		return errEnds
	}
	if b.dirs[u.Member] == nil {
		r, err := s.enter(b, u)
		if err != nil {
			return err
		}
		if s.raft.ran[u.Member] && s.raft.agreed.votes(u.Member) {
			s.t.Fatalf("voter %s is started again without its data", u.Member)
		}
		if s.raft.ran[u.Member] {
			return errEnds // the leader tells it to commit what it does not have
		}
		s.raft.ran[u.Member] = true
		b.dirs[u.Member] = r
	}
	b.proc = &process{replica: b.dirs[u.Member], unit: u, up: s.now}
	return nil
}

// enter is a first start: a founder begins with the founding itself as its log,
// a joining member compares its initial cluster with that of a peer.
func (s *sim) enter(b *box, u cluster.Unit) (*replica, error) {
	if u.Founding.New {
		var cfg config
		for _, f := range s.store.boot.Founders {
			cfg = append(cfg, peer{id: f.Member, name: string(f.Node.Hostname), url: f.Node.PeerURL()})
		}
		if s.raft.acked == 0 {
			s.raft.acked, s.raft.agreed = uint64(len(cfg)), cfg
		}
		return &replica{index: uint64(len(cfg)), cfg: cfg}, nil
	}
	if b.isolated {
		return nil, errEnds
	}
	var cfg config
	var index uint64
	for _, p := range s.connected() { // a follower lags for milliseconds only
		if cfg == nil || p.index > index {
			cfg, index = p.cfg, p.index
		}
	}
	if len(cfg) != len(u.Founding.Peers) {
		return nil, errEnds
	}
	for _, url := range u.Founding.Peers {
		if !hasURL(cfg, url) {
			return nil, errEnds
		}
	}
	return &replica{cfg: cfg}, nil
}

func hasURL(c config, url string) bool {
	for _, p := range c {
		if p.url == url {
			return true
		}
	}
	return false
}

func (h *hand) stopUnit(b *box) error {
	if err := b.admit(); err != nil {
		return err
	}
	return h.does("stop etcd on "+string(b.node.Hostname), func() error {
		b.proc, b.last, b.again = nil, cluster.Unit{}, 0
		return nil
	})
}

// retireUnit moves the data first and forgets the member last.
func (h *hand) retireUnit(b *box, id cluster.MemberID) error {
	if err := b.admit(); err != nil {
		return err
	}
	if _, known := b.seals[id]; known && b.unmounted {
		return fmt.Errorf("%w: not mounted", errGuard)
	}
	if b.runs(id) {
		return fmt.Errorf("%w: it runs", errGuard)
	}
	if _, member := h.s.raft.agreed.find(id); member {
		h.s.t.Fatalf("member %s is in the cluster, and its data is moved aside", id)
	}
	name := id.String() + " on " + string(b.node.Hostname)
	if err := h.does("move data aside of "+name, func() error { delete(b.dirs, id); return nil }); err != nil {
		return err
	}
	if b.unit != nil && b.unit.Member == id {
		if err := h.does("remove unit from systemd of "+name, func() error { b.file = nil; return nil }); err != nil {
			return err
		}
		if err := h.does("remove unit of "+name, func() error { b.unit = nil; return nil }); err != nil {
			return err
		}
	}
	delete(b.seals, id)
	return nil
}

func (h *hand) clean(b *box) error {
	if err := b.admit(); err != nil {
		return err
	}
	if b.unit != nil || len(b.dirs) > 0 || b.gateway != nil {
		return fmt.Errorf("%w: in use", errGuard)
	}
	return h.does("clean "+string(b.node.Hostname), func() error { b.certs, b.certDue = false, false; return nil })
}
