package plan

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"cke/internal/cluster"
)

// room is what etcd knows of its databases, in hundredths of the quota. Each
// replica's file only grows until it is defragmented.
type room struct {
	noSpace   bool // the alarm
	compacted bool
	files     map[cluster.MemberID]int64
}

// liveData is what is left without history.
const liveData = 30

func (r room) file(id cluster.MemberID) int64 { return max(liveData, r.files[id]) }

// spaceFaults fill what members write to.
func (s *sim) spaceFaults(on func(string, func(*box)) func(*rapid.T)) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"quota reached": func(*rapid.T) {
			if !s.serves() || s.store.boot.Phase != cluster.PhaseBootstrapped {
				return
			}
			s.logf("the quota is reached")
			files := map[cluster.MemberID]int64{}
			for id := range s.replicas() {
				files[id] = 100
			}
			s.raft.room = room{noSpace: true, files: files}
		},
		"disk full": on("disk full, and its member ends", func(b *box) {
			if b.unit == nil || !b.seals[b.unit.Member] {
				return // a first start is what the preflight is for
			}
			b.full = true
			if b.proc != nil {
				b.ended, b.roomless, b.proc = b.proc.unit.Member, true, nil
			}
		}),
		"disk has room": on("disk has room", func(b *box) { b.full = false }),
		"defrag asked": func(t *rapid.T) {
			n := s.victim(t).node.Hostname
			s.logf("a person asks for %s to be defragmented", n)
			s.store.defrag = append(slices.Clone(s.store.defrag), cluster.DefragRequest{Node: n, By: "ada"})
		},
	}
}

// spaceFacts are what a host tells of its disk.
func spaceFacts(b *box) cluster.Disk {
	d := cluster.Disk{Mount: "/srv/etcd", Size: 1 << 40, Free: 1 << 39}
	if b.full {
		d.Free = 0
	}
	return d
}

// observeSpace adds what members say of their databases.
func (s *sim) observeSpace(e *cluster.EtcdState) {
	if !e.Quorum {
		return
	}
	for i := range e.Members {
		m := &e.Members[i]
		if m.Healthy {
			m.Quota = 100 << 20
			m.DBSize, m.DBSizeInUse = s.raft.room.file(m.ID)<<20, liveData<<20
			if !s.raft.room.compacted && s.raft.room.noSpace {
				m.DBSizeInUse = m.DBSize
			}
		}
	}
	if s.raft.room.noSpace {
		e.Alarms = []cluster.Alarm{{Kind: cluster.AlarmNoSpace}}
		e.Compaction = &cluster.Compaction{Revision: 9, Compacted: 1}
		if s.raft.room.compacted {
			e.Compaction.Compacted = 9
		}
	}
}

// spaceDone mirrors the Done of each of the steps.
func (s *sim) spaceDone(step Step, e cluster.EtcdState) bool {
	switch step.Kind {
	case ForgetDefrag:
		return !s.asked(step.Nodes[0])
	case Compact:
		return !s.raft.room.noSpace || s.raft.room.compacted
	case DisarmAlarm:
		return !e.Alarmed(step.Alarm)
	default:
		m, ok := e.Member(step.Member)
		return !s.asked(step.Nodes[0]) && (!ok || Free(e, m) == 0)
	}
}

func (s *sim) asked(n cluster.NodeName) bool {
	return slices.ContainsFunc(s.store.defrag, func(r cluster.DefragRequest) bool { return r.Node == n })
}

func (s *sim) forgetDefrag(n cluster.NodeName) {
	s.store.defrag = slices.DeleteFunc(slices.Clone(s.store.defrag), func(r cluster.DefragRequest) bool { return r.Node == n })
}

// makeRoom carries one of the steps out.
func (h *hand) makeRoom(step Step) error {
	s := h.s
	forget := func() error {
		return h.does("forget the request for "+string(step.Nodes[0]), func() error { s.forgetDefrag(step.Nodes[0]); return nil })
	}
	if step.Kind == ForgetDefrag {
		return forget()
	}
	if _, err := h.viaLeader(); err != nil {
		return err
	}
	switch step.Kind {
	case Compact:
		return h.does("compact", func() error { s.raft.room.compacted = true; return nil })
	case DisarmAlarm:
		return h.does("disarm", func() error {
			for _, b := range s.boxes() { // what CKE does not reach it cannot know
				if b.proc != nil && !b.isolated && !b.netAway && s.raft.room.file(b.proc.unit.Member) >= 90 {
					s.t.Fatalf("disarmed while member %s has no room", b.proc.unit.Member)
				}
			}
			s.raft.room.noSpace = false
			return nil
		})
	}
	err := h.does("defragment "+step.Member.String(), func() error {
		if why := s.stalls(step); why != "" {
			s.t.Fatalf("%s, though %s", step.Key(), why)
		}
		files := map[cluster.MemberID]int64{}
		for id, n := range s.raft.room.files {
			files[id] = n
		}
		files[step.Member] = liveData
		s.raft.room.files = files
		return nil
	})
	if err != nil || !s.asked(step.Nodes[0]) {
		return err
	}
	return forget()
}

// stalls says why a member must not be made to answer nobody for a while.
func (s *sim) stalls(step Step) string {
	up := map[cluster.MemberID]bool{}
	for _, p := range s.connected() {
		up[p.unit.Member] = true
	}
	l := s.lead()
	voters := l.cfg.voters()
	if !l.cfg.votes(step.Member) {
		return ""
	}
	for _, v := range voters {
		if !up[v.id] {
			return fmt.Sprintf("voter %s does not serve", v.id)
		}
	}
	switch {
	case len(voters) > 1 && l.unit.Member == step.Member:
		return "it leads"
	case len(voters) <= 2 && !step.Interrupts:
		return "nobody said that the cluster stands still"
	}
	return ""
}

// needlessStall: a cluster is made to stand still only for a person or when it
// refuses writes anyway.
func (s *sim) needlessStall(step Step) bool {
	return step.Interrupts && !s.asked(step.Nodes[0]) && !s.raft.room.noSpace
}
