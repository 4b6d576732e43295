package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cke/internal/cluster"
	"cke/internal/host"
)

// Misplaced says what of the world is not as it should be, or nothing. It looks
// at the machines and the members, and takes no daemon's word for anything.
func (w *World) Misplaced() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	f := w.shelf
	switch {
	case f.boot.Phase != cluster.PhaseBootstrapped:
		return "the cluster is not founded"
	case len(f.leaving) > 0:
		return "nodes are still leaving"
	case len(f.defrag) > 0:
		return "members are still to be defragmented"
	case len(w.raft.corruption.alarms) > 0:
		return fmt.Sprintf("the alarm CORRUPT is up about %v", w.raft.corruption.alarms)
	case w.raft.room.noSpace:
		return "the alarm NOSPACE is up"
	case len(f.drains) > 0 || f.reboot != nil:
		return fmt.Sprintf("drains are on record: %v; machines to be rebooted: %v", f.drains, f.reboot)
	case w.raft.line.downgrade != (cluster.Minor{}) || w.raft.line.version != cluster.MinorOf(f.spec.Etcd.Version):
		return fmt.Sprintf("the cluster's version is %s, and it goes down to %s", w.raft.line.version, w.raft.line.downgrade)
	case f.restart != nil:
		return "a restart is on record"
	case len(f.removed) > 0:
		return "users are still being removed"
	case !w.serving():
		return "nobody leads"
	}
	if id, differs := w.dataDiffers(); differs {
		return fmt.Sprintf("the data of member %s is bad", id)
	}
	members, why := w.placed()
	if why != "" {
		return why
	}
	for _, m := range w.all() {
		id, carries := members[m.name()]
		switch {
		case carries && (!m.running(id) || !m.seals[id] || !m.hasData(id) || m.unit == nil || m.unit.Founding != nil):
			return fmt.Sprintf("%s does not carry its member as it should", m)
		case carries && !(m.unit.SameSettings(m.proc.unit) && m.unit.Quota == f.spec.Etcd.Quota && m.unit.Version == f.spec.Etcd.Version && maps.Equal(m.unit.ExtraArgs, f.spec.Etcd.ExtraArgs)):
			return fmt.Sprintf("%s runs with other settings than wanted", m)
		case carries && m.halfInstalled():
			return fmt.Sprintf("%s would start its member with another unit than is on record: %+v", m.name(), m.file)
		case carries && (m.files.public[host.ServerCert] == nil || m.files.public[host.ClientCRL] == nil):
			return fmt.Sprintf("%s lacks certificates", m)
		case carries && len(m.dirs) != 1, !carries && !m.bare():
			return fmt.Sprintf("%s carries what is no member's", m)
		}
		if why := w.gatewayMisplaced(m, members); why != "" {
			return why
		}
	}
	return w.accessIsRight()
}

// placed finds each wanted voter on a node of its own.
func (w *World) placed() (map[cluster.NodeName]cluster.MemberID, string) {
	f := w.shelf
	members := map[cluster.NodeName]cluster.MemberID{}
	for _, p := range w.raft.agreed {
		i := slices.IndexFunc(f.spec.Nodes, func(n cluster.Node) bool { return n.ControlPlane && n.PeerURL() == p.url })
		if i < 0 || p.learner || p.name != string(f.spec.Nodes[i].Hostname) {
			return nil, fmt.Sprintf("member %s (%q, learner %v) at %s is no voter on a wanted node", p.id, p.name, p.learner, p.url)
		}
		members[f.spec.Nodes[i].Hostname] = p.id
	}
	if len(members) != f.spec.WantedVoters() {
		return nil, fmt.Sprintf("%d voters, %d are wanted", len(members), f.spec.WantedVoters())
	}
	return members, ""
}

func (w *World) accessIsRight() string {
	a, right := w.raft.auth, rightAuth(w.shelf.users)
	if !a.Enabled {
		return "authentication is off"
	}
	for user, roles := range right.Users {
		if !slices.Equal(a.Users[user], roles) || user != cluster.RootUser && !slices.Equal(a.Roles[user], right.Roles[user]) {
			return fmt.Sprintf("user %s has roles %v and permissions %v", user, a.Users[user], a.Roles[user])
		}
	}
	for _, once := range w.shelf.everUsers {
		if _, is := right.Users[once.Name]; is {
			continue
		}
		if _, user := a.Users[once.Name]; user {
			return "the removed user " + once.Name + " is still there"
		}
	}
	return ""
}

// LostForGood: the environment has destroyed the data of so many voters that no
// quorum can be had ever again.
func (w *World) LostForGood() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.advance()
	return w.lostForGood()
}

// String is a line for the membership and one for each machine.
func (w *World) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "phase %q, agreed %+v at %d, leader %s\n", w.shelf.boot.Phase, w.raft.agreed, w.raft.acked, w.raft.leader)
	for _, m := range w.all() {
		fmt.Fprintln(&b, m)
	}
	return b.String()
}
