package sim

import (
	"maps"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// onMachine are the faults that strike one machine, by name, and their ends. A
// fault that makes no sense where it strikes does nothing.
func onMachine() map[string]func(*machine) {
	return map[string]func(*machine){
		"silent":  func(m *machine) { m.hearing(silent) },
		"refuses": func(m *machine) { m.hearing(refuses) },
		"hears":   func(m *machine) { m.hearing(prompt); m.slow = 0 },
		"slow":    func(m *machine) { m.slow = m.w.between("slow "+string(m.name()), 300*time.Millisecond, 8*time.Second) },
		"away":    (*machine).leave,
		"back":    (*machine).comeBack,
		"crash":   (*machine).crash,
		"boot":    (*machine).boot,
		"isolate": func(m *machine) { m.isolated = true },
		"rejoin":  (*machine).rejoin,
		"hang":    func(m *machine) { m.hung = m.proc != nil },
		"wake":    func(m *machine) { m.hung = false; m.met() },
		"kill":    func(m *machine) { m.exits("signal: killed") },
		"wipe":    func(m *machine) { m.wipe(true) },
		"corrupt": (*machine).corrupt,
		"unmark":  func(m *machine) { m.wipe(false) },
		"unmount": (*machine).unmount,
		"mount":   func(m *machine) { m.unmounted = false },
		"fill": func(m *machine) {
			m.full = true
			m.exits("exit status 1: write: no space left on device")
		},
		"empty":       func(m *machine) { m.full = false },
		"crashes":     func(m *machine) { m.crashes = true; m.exits("exit status 2: panic: it crashes") },
		"runs":        func(m *machine) { m.crashes = false },
		"port-taken":  func(m *machine) { m.portBusy = m.proc == nil },
		"port-free":   func(m *machine) { m.portBusy = false },
		"no-etcd":     func(m *machine) { m.versions = nil },
		"disk-slow":   func(m *machine) { m.slowDisk = true },
		"clock-off":   func(m *machine) { m.setClock(time.Minute) },
		"clock-jumps": func(m *machine) { m.setClock(jumpBack) },
		"clock-right": func(m *machine) { m.setClock(0) },
		"fence":       func(m *machine) { m.obeys = host.Identity{StoreID: "another", Epoch: 1} },
		"claim":       (*machine).reclaim,
		"defragment":  func(m *machine) { m.w.askDefrag(m.name()) },
		"certs-lost":  (*machine).loseFiles,
		"gateway-ends": func(m *machine) {
			if m.gateway != nil {
				m.gateway.down = true
			}
		},
		"put-back":   (*machine).putBack,
		"drain":      func(m *machine) { m.askDrain(false) },
		"drain-hard": func(m *machine) { m.askDrain(true) },
		"undrain":    (*machine).askUndrain,
		"reboot":     func(m *machine) { m.w.askReboot([]cluster.NodeName{m.name()}, false) },
	}
}

func (m *machine) hearing(a answers) {
	m.helper = a
	m.changed()
}

// leave takes the machine off the network; its peers hear no end of anything.
func (m *machine) leave() {
	if !m.away && m.connected(m.w.raft.at) {
		m.gone = m.w.raft.at
	}
	m.away = true
	m.changed()
}

func (m *machine) comeBack() {
	if m.away {
		m.away, m.gone = false, time.Time{}
		m.met()
	}
}

func (m *machine) rejoin() {
	if m.isolated {
		m.isolated = false
		m.met()
	}
}

// met: its peers have connected anew.
func (m *machine) met() {
	if m.proc != nil && m.proc.up.Before(m.w.raft.at) {
		m.proc.met = m.w.raft.at
	}
}

// wipe destroys the data of the machine's member, or only the mark in it. A
// process that runs on it goes on until it ends. Before the founding is recorded
// nothing but the seal tells a wiped founder from one that never started.
func (m *machine) wipe(all bool) {
	u := m.unit
	if u == nil || m.unmounted || m.dirs[u.Member] == nil || !m.seals[u.Member] && m.w.shelf.boot.Phase != cluster.PhaseBootstrapped {
		return
	}
	id := u.Member
	was := m.dirs[id]
	lost := *was
	lost.mark = false
	m.dirs[id] = &lost
	if all || !m.seals[id] {
		delete(m.dirs, id)
	}
	if m.w.o.Gentle && m.w.doomed() {
		m.dirs[id] = was
	}
}

// putBack is a person who moves what was set aside back to where it was. Nothing of it is
// of use: its member is out.
func (m *machine) putBack() {
	if n := len(m.aside); n > 0 && !m.unmounted && m.w.cared(m.name()) { // who left is watched no more
		id, err := cluster.ParseMemberID(strings.SplitN(m.aside[n-1].Name, ".", 2)[0])
		if _, member := m.w.raft.agreed.find(id); err != nil || member || m.dirs[id] != nil {
			return
		}
		m.aside = m.aside[:n-1]
		m.dirs[id], m.placed = &replica{mark: true, token: "none"}, m.w.raft.at
	}
}

// doomed: with every process ended, a quorum would be lost for good.
func (w *World) doomed() bool {
	whole := 0
	for _, v := range w.raft.agreed.voters() {
		m := w.byPeerURL(v.url)
		if m != nil && (m.dirs[v.id] != nil && m.dirs[v.id].bad == 0 && (m.dirs[v.id].mark || !m.seals[v.id]) || w.shelf.boot.Phase != cluster.PhaseBootstrapped && !w.raft.ran[v.id]) {
			whole++
		}
	}
	return w.raft.acked > 0 && whole < w.raft.agreed.quorum()
}

// unmount takes the file system of its data away, and its process with it.
func (m *machine) unmount() {
	if m.unit != nil && m.seals[m.unit.Member] {
		m.unmounted = true
		m.exits("exit status 1: open member/wal: no such file or directory")
	}
}

func (m *machine) reclaim() {
	if m.obeys.StoreID != storeID {
		m.obeys = host.Identity{}
	}
}

func (m *machine) loseFiles() {
	f := files{maps.Clone(m.files.public), m.files.fits}
	delete(f.public, host.ClientCRL)
	m.files = f
}

// onWorld are the faults that strike everything, and their ends.
func onWorld() map[string]func(*World) {
	all := onCKE()
	maps.Copy(all, map[string]func(*World){
		"power-cut": func(w *World) {
			for _, m := range w.all() {
				m.crash()
			}
		},
		"heal": (*World).heal,
		"power-back": func(w *World) {
			for _, m := range w.all() {
				m.boot()
			}
		},
		"all-killed": func(w *World) {
			for _, m := range w.all() {
				m.exits("signal: killed")
			}
		},
		"repair":            (*World).repair,
		"etcd-slow":         func(w *World) { w.lags = 1500 * time.Millisecond },
		"etcd-fast":         func(w *World) { w.lags = 0 },
		"etcd-loses":        func(w *World) { w.loses = 40 },
		"etcd-keeps":        func(w *World) { w.loses = 0 },
		"many-writes":       func(w *World) { w.raft.rate = 1000 },
		"few-writes":        func(w *World) { w.raft.rate = 100 },
		"kube-away":         func(w *World) { w.kube.away = true },
		"kube-back":         func(w *World) { w.kube.away, w.kube.at = false, w.raft.at },
		"quota-reached":     func(w *World) { w.fill(100) },
		"history-made":      func(w *World) { w.fill(60) },
		"history-compacted": func(w *World) { w.raft.room.history, w.raft.room.compacted = 0, w.raft.room.revision },
		"auth-off":          func(w *World) { w.drift(func(a *cluster.Auth) { a.Enabled = false }) },
		"auth-user": func(w *World) {
			w.drift(func(a *cluster.Auth) { delete(a.Users, cluster.APIServerUser) })
		},
		"auth-grant": func(w *World) {
			w.drift(func(a *cluster.Auth) {
				role := cluster.APIServerUser
				if _, ok := a.Roles[role]; ok {
					a.Roles[role] = append(slices.Clone(a.Roles[role]), cluster.Permission{Key: "/x/", RangeEnd: "/x0", Type: "READ"})
				}
			})
		},
	})
	return all
}

// onCKE are those that befall the daemon that leads, and what people ask of it.
func onCKE() map[string]func(*World) {
	return map[string]func(*World){
		"reboot-all":  func(w *World) { w.askReboot(slices.Clone(w.order), false) },
		"reboot-hard": func(w *World) { w.askReboot(slices.Clone(w.order), true) },
		"reboot-none": (*World).cancelReboot,
		"undrain-all": func(w *World) {
			for _, m := range w.all() {
				m.askUndrain()
			}
		},
		"cke-killed-halfway": func(w *World) { w.newest().diesAfter = inSystemd },
		"cke-killed":         func(w *World) { w.killNewest() },
		"cke-clock":          func(w *World) { w.setCKEsClock(w.between("clock", -mostWrong, mostWrong)) },
		"cke-replaced": func(w *World) {
			w.newest().kill()
			w.begin()
		},
		"cke-stopped": func(w *World) { w.stopNewest() },
		"cke-goes-on": func(w *World) {
			for _, c := range w.ckes {
				c.resume()
			}
		},
	}
}

// drift is a change that somebody with root's certificate makes behind cke.
func (w *World) drift(do func(a *cluster.Auth)) {
	if w.serving() && w.shelf.boot.Phase == cluster.PhaseBootstrapped {
		w.drifted = true
		do(&w.raft.auth)
	}
}

func (w *World) newest() *CKE { return w.ckes[len(w.ckes)-1] }

// restartTime is how long nobody leads after a kill.
const restartTime = 2 * time.Second

// killNewest ends the daemon that leads; another begins a while later.
func (w *World) killNewest() {
	c := w.newest()
	c.kill()
	w.follow(c)
}

// follow has another daemon begin a while after this one's end.
func (w *World) follow(c *CKE) {
	w.after(restartTime, "another cke", func() {
		if w.newest() == c {
			w.begin()
		}
	})
}

const (
	// leaseTime is how long the lead lasts without being renewed; what is asked of
	// etcd ends leaseMargin before.
	leaseTime   = 5 * time.Second
	leaseMargin = 2 * time.Second
)

// stopNewest has the daemon that leads stand still in the midst of what it does.
// When it has for so long that its lead is over, another begins.
func (w *World) stopNewest() {
	c := w.newest()
	if c.dead || c.frozen != nil {
		return
	}
	c.freeze()
	still := c.frozen
	w.after(leaseTime-leaseMargin, "the lead is over", func() {
		if c.frozen != still || c.dead {
			return
		}
		c.cancel() // it learns of it when it goes on
		w.after(leaseMargin, "another leads", func() {
			if w.newest() == c {
				w.begin()
			}
		})
	})
}

// mendSettings is what a person does who reads that settings failed: whoever is
// to blame, the last that worked come back.
func (w *World) mendSettings() {
	if r := w.shelf.restart; r != nil && r.Failed != "" {
		if e := w.shelf.spec.Etcd.WithSettings(r.From); w.shelf.spec.Etcd.Quota != e.Quota || w.shelf.spec.Etcd.Version != e.Version || !maps.Equal(e.ExtraArgs, w.shelf.spec.Etcd.ExtraArgs) {
			w.shelf.spec.Etcd = e
			w.wake()
		}
	}
}

// repair ends every fault but lost data.
func (w *World) repair() {
	w.heal()
	w.kube.at = w.raft.at // what it was not told so far it is told soon
	w.kube.away, w.lags, w.loses, w.raft.rate = false, 0, 0, 100
	for _, m := range w.all() {
		m.helper, m.slow, m.unmounted, m.full, m.crashes, m.portBusy, m.slowDisk = prompt, 0, false, false, false, false, false
		m.setClock(0)
		if m.hung {
			m.hung = false
			m.met()
		}
		if len(m.versions) == 0 && m.node.User == "" {
			m.versions = versions() // a person puts them there
		}
		m.comeBack()
		m.rejoin()
		m.reclaim()
		m.boot()
		m.changed()
		m.struck = w.raft.at
	}
	for _, c := range w.ckes {
		c.resume()
	}
	w.undrainAll()
	w.newest().lives, w.newest().stallsIn, w.newest().diesAfter = -1, 0, ""
	w.shelf.paused = nil
	if w.shelf.spec.Etcd.ExtraArgs[badFlag] == badValue {
		w.shelf.spec.Etcd.ExtraArgs = nil
	}
	w.mendSettings()
	if w.setCKEsClock(0); w.newest().dead {
		w.begin()
	}
	w.wake()
}
