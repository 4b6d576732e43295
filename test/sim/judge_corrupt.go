package sim

import "cke/internal/cluster"

// What no cke may do while some member's data is bad.

// rightData is what most voters hold, and how many do.
func (w *World) rightData() (right uint32, most int) {
	count, all := map[uint32]int{}, w.replicas()
	for _, p := range w.raft.agreed.voters() {
		if r := all[p.id]; r != nil {
			count[r.bad]++
		}
	}
	for bad, n := range count {
		if n > most || n == most && bad < right {
			right, most = bad, n
		}
	}
	return right, most
}

// badData: a voter's data is not what most voters hold.
func (w *World) badData(id cluster.MemberID) bool {
	right, _ := w.rightData()
	r := w.replicas()[id]
	return r != nil && r.bad != right
}

// knownBad: etcd has said so, long enough ago for everybody to have heard.
func (w *World) knownBad() bool {
	c := w.raft.corruption
	return len(c.alarms) > 0 && w.raft.at.Sub(c.raised) > w.takes()
}

// judgeSpread is of a learner that is added: it gets what the leader has.
func (w *World) judgeSpread(url string) {
	if l := w.lead(); l != nil && w.knownBad() && w.badData(l.proc.unit.Member) {
		w.violate("badDataIsNotSpread", "a learner is added for %s while %s leads, whose data is bad", url, l.proc.unit.Member)
	}
}

// judgeDisarmCorrupt: the alarm stays as long as those who serve hold different data.
func (w *World) judgeDisarmCorrupt() {
	if w.raft.at.Sub(w.raft.corruption.began) < w.takes() {
		return
	}
	for _, m := range w.members() {
		p := m.proc
		if w.raft.agreed.votes(p.unit.Member) && w.badData(p.unit.Member) && w.raft.at.Sub(p.met) > w.takes() {
			w.violate("alarmStaysWhileDataDiffers", "the alarm CORRUPT is disarmed while member %s serves bad data", p.unit.Member)
		}
	}
}

// dataDiffers says who still holds other data than the others.
func (w *World) dataDiffers() (cluster.MemberID, bool) {
	for _, p := range w.raft.agreed.voters() {
		if w.badData(p.id) {
			return p.id, true
		}
	}
	return 0, false
}
