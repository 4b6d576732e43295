package plan

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"cke/internal/cluster"
)

// faults are what the environment and people do, by name. gentle keeps a quorum
// of the voters' data.
func (s *sim) faults(gentle bool) map[string]func(*rapid.T) {
	on := func(what string, do func(*box)) func(*rapid.T) {
		return func(t *rapid.T) {
			b := s.victim(t)
			s.logf("%s: %s", b.node.Hostname, what)
			do(b)
			s.settle()
		}
	}
	all := map[string]func(*rapid.T){
		"spec edited":       s.editSpec,
		"time passes":       s.timePasses,
		"auth drifts":       s.authDrifts,
		"user added":        s.addUser,
		"user removed":      s.removeUser,
		"node drained":      s.drain,
		"node undrained":    s.undrain,
		"reboot asked":      s.askReboot,
		"reboot called off": func(*rapid.T) { s.cancelReboot() },
		"power cut":         func(*rapid.T) { s.powerCut() },
		"repair":            func(*rapid.T) { s.repair() },
		"member killed":     on("member killed", func(b *box) { b.proc = nil }),
		"machine starts it": on("machine starts it", s.startsItself),
		"data wiped":        func(t *rapid.T) { s.wipe(t, gentle) },
		"helper away":       on("helper away", func(b *box) { b.helperAway = true }),
		"network away":      on("network away", func(b *box) { b.netAway = true }),
		"host down":         on("host down", func(b *box) { b.netAway, b.proc = true, nil }),
		"host back":         on("host back", func(b *box) { b.helperAway, b.netAway = false, false }),
		"member isolated":   on("member isolated", func(b *box) { b.isolated = true }),
		"member rejoined":   on("member rejoined", s.rejoin),
		"disk unmounted": on("disk unmounted", func(b *box) {
			if b.unit != nil && b.seals[b.unit.Member] && b.proc == nil {
				b.unmounted = true
			}
		}),
		"disk mounted":    on("disk mounted", func(b *box) { b.unmounted = false }),
		"host fenced":     on("host fenced", func(b *box) { b.fenced = true }),
		"host claimed":    on("host claimed", func(b *box) { b.fenced = false }),
		"port taken":      on("port taken", func(b *box) { b.portBusy = b.proc == nil }),
		"version missing": on("version missing", func(b *box) { b.noVersion = true }),
		"disk slow":       on("disk slow", func(b *box) { b.slowDisk = true }),
		"authorities replaced": on("authorities replaced", func(b *box) {
			if b.proc != nil {
				b.proc.staleCA = true
			}
		}),
		"certificates due": on("certificates due", func(b *box) { b.certDue = b.certs }),
	}
	maps.Copy(all, s.tenantFaults(on))
	maps.Copy(all, s.spaceFaults(on))
	return all
}

// cared are the hosts that have to do with the cluster.
func (s *sim) cared() []cluster.NodeName {
	var names []cluster.NodeName
	for _, n := range s.nodes() {
		names = append(names, n.Hostname)
	}
	return names
}

// victim is the host a fault strikes: one of those aimed at, if any are.
func (s *sim) victim(t *rapid.T) *box {
	names := s.aim
	if len(names) == 0 {
		names = s.cared()
	}
	return s.hosts[rapid.SampledFrom(names).Draw(t, "host")]
}

func (s *sim) rejoin(b *box) {
	b.isolated = false
	if b.proc != nil {
		b.proc.up = s.now
	}
}

func (s *sim) powerCut() {
	s.logf("power cut")
	for _, b := range s.boxes() {
		b.proc = nil
	}
	s.settle()
}

// repair ends every fault but lost data.
func (s *sim) repair() {
	s.logf("repair")
	s.kube.away = false
	s.store.spec.Etcd.ExtraArgs = nil
	for _, d := range s.store.drains {
		if !d.Reboot {
			s.endDrain(d.Node)
		}
	}
	for _, b := range s.boxes() {
		if b.isolated {
			s.rejoin(b)
		}
		b.helperAway, b.netAway, b.fenced, b.unmounted, b.portBusy, b.noVersion, b.slowDisk, b.full = false, false, false, false, false, false, false, false
	}
	s.settle()
}

// wipe destroys a member's data, or only the mark in it. A process that runs on
// it goes on until it ends. Before the founding is recorded nothing but the seal
// tells a wiped founder from one that never started.
func (s *sim) wipe(t *rapid.T, gentle bool) {
	b := s.victim(t)
	all := rapid.Bool().Draw(t, "all of it")
	if b.unit == nil || !b.seals[b.unit.Member] && s.store.boot.Phase != cluster.PhaseBootstrapped || b.unmounted || b.dirs[b.unit.Member] == nil {
		return
	}
	id := b.unit.Member
	was := b.dirs[id]
	lost := *was
	lost.mark = false
	b.dirs[id] = &lost
	if all || !b.seals[id] {
		delete(b.dirs, id)
	}
	if gentle && s.doomed() {
		b.dirs[id] = was
		return
	}
	s.logf("%s: data of %s wiped (all of it: %v)", b.node.Hostname, id, all)
}

// doomed: with every process ended, a quorum would be lost for good.
func (s *sim) doomed() bool {
	c := s.clone()
	for _, b := range c.boxes() {
		b.proc = nil
	}
	return c.lostForGood()
}

func (s *sim) timePasses(t *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{10 * time.Millisecond, time.Second, 6 * time.Second, 20 * time.Second, 6 * time.Minute}).Draw(t, "time")
	s.logf("%s pass", d)
	s.pass(d)
}

func (s *sim) editSpec(t *rapid.T) {
	spec := s.store.spec
	spec.Nodes = slices.Clone(spec.Nodes)
	edit := rapid.IntRange(0, 8).Draw(t, "edit")
	if s.raft.downgrade != (cluster.Minor{}) && rapid.Bool().Draw(t, "mind changed") {
		edit = 6
	}
	switch edit {
	case 0:
		spec = s.drawSpec(t)
	case 1:
		n := s.hosts[rapid.SampledFrom(universe()).Draw(t, "node")].node
		n.ControlPlane = true
		n = drawTenants(t, n)
		if !slices.Contains(s.cared(), n.Hostname) {
			spec.Nodes = append(spec.Nodes, n)
		}
	case 2:
		i := rapid.IntRange(0, len(spec.Nodes)-1).Draw(t, "node")
		spec.Nodes = slices.Delete(spec.Nodes, i, i+1)
	case 3:
		spec.Etcd.Members = rapid.IntRange(0, len(spec.Nodes)).Draw(t, "members")
	case 4:
		i := rapid.IntRange(0, len(spec.Nodes)-1).Draw(t, "node")
		spec.Nodes[i] = drawTenants(t, spec.Nodes[i])
	case 6, 7:
		spec.Etcd.Version = map[string]string{olderVersion: cluster.DefaultVersion, cluster.DefaultVersion: olderVersion}[spec.Etcd.Version]
	case 5:
		spec.Etcd.ExtraArgs = badSetting()
	default:
		spec.Etcd.Quota++
		spec.Etcd.ExtraArgs = nil
	}
	if err := s.setSpec(spec); err != nil {
		return // a person is told, and nothing changes
	}
	s.logf("spec: %d of %s, leaving %s", spec.WantedVoters(), hostnames(spec.Nodes), hostnames(s.store.leaving))
}

// trySettings follows a change of settings for a while: chance alone hardly ever
// comes to a roll back, or to a change of mind while etcd goes down.
func (s *sim) trySettings(t *rapid.T) {
	spec := s.store.spec
	if s.raft.downgrade == (cluster.Minor{}) && rapid.Bool().Draw(t, "bad") {
		spec.Etcd.ExtraArgs = badSetting()
	} else {
		spec.Etcd.Version = map[string]string{olderVersion: cluster.DefaultVersion, cluster.DefaultVersion: olderVersion}[spec.Etcd.Version]
	}
	if err := s.setSpec(spec); err != nil {
		return
	}
	s.logf("settings are tried: etcd %s %v", spec.Etcd.Version, spec.Etcd.ExtraArgs)
	w := newWheel(s)
	for range 2 {
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			w.round()
		}
		s.pass(20 * time.Second)
	}
}

func hostnames(nodes []cluster.Node) (names []cluster.NodeName) {
	for _, n := range nodes {
		name := n.Hostname
		if !n.ControlPlane {
			name += "(worker)"
		}
		names = append(names, name)
	}
	return names
}

// tenants are those who come and go.
func tenants() []string { return []string{"app", "web", "ci"} }

func (s *sim) addUser(t *rapid.T) {
	name := rapid.SampledFrom(tenants()).Draw(t, "user")
	if !slices.ContainsFunc(s.store.users, func(u cluster.User) bool { return u.Name == name }) {
		s.store.users = append(slices.Clone(s.store.users), cluster.User{Name: name, Prefix: "/" + name + "/"})
		s.forgetUser(name)
	}
}

func (s *sim) removeUser(t *rapid.T) {
	if len(s.store.users) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.store.users)-1).Draw(t, "user")
	gone := s.store.users[i]
	s.logf("user %s is removed", gone.Name)
	s.store.users = slices.Delete(slices.Clone(s.store.users), i, i+1)
	s.store.removed = append(slices.Clone(s.store.removed), cluster.RemovedUser{User: gone, At: s.now})
}

func (s *sim) forgetUser(name string) {
	s.store.removed = slices.DeleteFunc(slices.Clone(s.store.removed), func(u cluster.RemovedUser) bool { return u.Name == name })
}

// authDrifts: someone with root's certificate changes etcd behind CKE.
func (s *sim) authDrifts(t *rapid.T) {
	a := &s.raft.auth
	drift := rapid.SampledFrom([]string{"off", "user", "role", "grant", "foreign"}).Draw(t, "drift")
	if !s.serves() || len(a.Users) == 0 {
		return
	}
	s.logf("auth drifts: %s", drift)
	victim := rapid.SampledFrom(sortedKeys(a.Users)).Draw(t, "user")
	switch drift {
	case "off":
		a.Enabled = false
	case "user":
		if victim != cluster.RootUser || !a.Enabled {
			delete(a.Users, victim)
		}
	case "role":
		delete(a.Roles, victim)
		if victim == cluster.RootUser && a.Enabled {
			return // the user keeps it
		}
		for u, roles := range a.Users {
			a.Users[u] = slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == victim })
		}
	case "grant":
		if _, ok := a.Roles[victim]; ok {
			key := rapid.SampledFrom([]string{"/x/", cluster.APIServerPath, "/app/"}).Draw(t, "key")
			c := AuthChange{Op: GrantPermission, Role: victim, Permission: cluster.Permission{Key: key, RangeEnd: cluster.PrefixRangeEnd(key), Type: "READ"}}
			if err := s.changeAuth(c); err != nil {
				t.Fatal(err)
			}
		}
		if victim != cluster.RootUser && !slices.Contains(a.Users[victim], cluster.RootUser) {
			a.Users[victim] = append(slices.Clone(a.Users[victim]), cluster.RootUser)
		}
	default:
		a.Users["foreign"], a.Users["stranger"] = []string{cluster.RootUser}, nil
	}
}
