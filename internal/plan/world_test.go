package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
)

// world is a cluster described line by line, as in testdata/*.txtar:
//
//	node NAME ADDRESS [worker] [leaving] [remote] [gateway] [apiserver] [zone=ZONE]
//	gateway NAME [[-|~]UPSTREAM[+]...] [stopped] [stale] [outdated]    -: draining; ~: restarting; +: has connections; stale: its list is not in force
//	apiserver NAME due|fails                what of the API server's files is wrong
//	published ADDRESS...|trouble            what Kubernetes offers
//	withdrawn NAME D | parting NAME [restarts]    a member has been about to go for so long; a step under way takes it out
//	releases VERSION/ARCH...                what cke can put on remote hosts
//	members N                               etcd.members
//	phase new|bootstrapping|bootstrapped|forget    the founders are the nodes, or three that leave
//	paused
//	newerleader                             a host that is silent now has told of one
//	healthy NAME...                         unit, data and serving voter, the first leads
//	host NAME unreachable [SINCE] | back SINCE | trouble TROUBLE | fenced | deposed | aside | busy | certs [due] | version V | arch A
//	preflight NAME none | age D | unasked | clock D | free N | fsync D | fsyncerr | foreign | files N | memory N |
//	          systemd N | to|from NAME closed|refused|quiet|away | source ADDRESS
//	stranger ADDRESS leader|serves|down     a voter on no known node
//	mixed                                   members of two clusters answer
//	unit NAME [ID] [stopped] [ended] [killed] [refuses [unseen]] [unsealed] [lost] [unmounted] [flags] [founding|joining] [old] [staleca] [unfinished]    flags: runs with others; old: says and runs with others
//	restart NAME AGO [failed] [down] [mended] [older] [undone]  its record; mended: other settings failed than those wanted now; older: from etcd 3.6;
//	          undone: to other settings than those wanted now, from these
//	version V                               the spec's, installed everywhere beside 3.7.3
//	runs NAME V STORAGE                     the version of a member and of its data
//	snapshot V AGO [HOST] [from=V] | downgrade V     taken for version V, lies on HOST; what etcd prepares for
//	nounit NAME | data NAME ID
//	member NAME ID|= [leader] [learner] [unstarted] [down SINCE] [index N]
//	heard NAME BYTES INDEX TERM AGO [lost]  the last that is known of its data
//	gone NAME                               not in the membership
//	setback NAME LEARNERS D                 its last members came to nothing, the last so long ago
//	drain NAME [over D] [interrupt] [reboot]  it is under maintenance, or was until so long ago
//	reboot NAME... [done NAME...] [told D [before|D]]  machines are to be rebooted; before: who wrote down that it is told leads no more;
//	          the second D: it was told first so long ago;
//	          boot NAME ID: which boot one runs, b1 before; ownboot ID: cke's own
//	quorum D                                there was none until so long ago
//	before D INDEX                          so long ago the log had come so far
//	behind NODE D                           a learner has come no nearer to the end of the log for so long
//	partakes NODE D|unknown                 its process said so long ago that it takes part in the quorum; was not asked yet
//	ran NODE D D                            its process has run for so long, and ended so long ago before that
//	running NODE D                          its process has been seen to run for so long
//	grew NODE D BYTES                       its data was last seen to grow so long ago, to so many bytes
//	again NODE N                            its process was started again so often with the settings it has
//	before-that NODE N                      so many of its ends were there when it had last served for long
//	applied NODE INDEX                      the process on a node says how far it is
//	logged NODE INDEX                       and what is on its disk
//	noquorum | stale | clusterid ID         nobody answers | one remembers the membership
//	auth off|unknown | etcduser NAME ROLE... | etcdrole NAME KEY | user NAME PREFIX
//	removed NAME PREFIX
type world struct {
	spec cluster.Spec
	st   cluster.State
	now  time.Time
	// unmeasured are the nodes nothing is known of.
	unmeasured []cluster.NodeName
}

const token = "main-TOKEN"

func parseWorld(t *testing.T, text string) world {
	t.Helper()
	w := world{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.spec = cluster.Spec{Name: "main"}.WithDefaults()
	w.st = cluster.State{At: w.now, Nodes: map[cluster.NodeName]cluster.NodeState{}}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if f[0] == "preflight" {
			w.measureAll()
		}
		if err := w.line(f); err != nil {
			t.Fatalf("line %d, %q: %v", i+1, line, err)
		}
	}
	w.measureAll()
	return w
}

func (w *world) line(f []string) error {
	args := f[1:]
	switch f[0] {
	case "node":
		return w.node(args)
	case "members":
		_, err := fmt.Sscan(args[0], &w.spec.Etcd.Members)
		return err
	case "phase":
		w.phase(cluster.Phase(args[0]))
	case "releases":
		for _, r := range args {
			version, arch, _ := strings.Cut(r, "/")
			w.st.Releases = append(w.st.Releases, cluster.Release{Version: version, Arch: arch})
		}
	case "newerleader":
		w.st.NewerLeader = "a newer leader of this store has acted on cp2 (epoch 9, this one is 2)"
	case "paused":
		w.st.Paused = &cluster.Pause{By: "ada", Why: "moving racks", At: w.now}
	case "healthy":
		for i, n := range args {
			w.serve(cluster.NodeName(n), i == 0)
		}
	case "host":
		return w.host(cluster.NodeName(args[0]), args[1:])
	case "preflight":
		return w.preflight(args[0], args[1:])
	case "unit":
		return w.unit(cluster.NodeName(args[0]), args[1:])
	case "restart":
		return w.restart(args)
	case "version", "runs", "snapshot", "downgrade":
		return w.version(f[0], args)
	case "nounit":
		w.edit(args[0], func(ns *cluster.NodeState) { ns.Unit = nil })
	case "data":
		id, err := cluster.ParseMemberID(args[1])
		w.edit(args[0], func(ns *cluster.NodeState) {
			ns.Data = append(ns.Data, cluster.DataDir{Member: id, WAL: true, Mark: true})
		})
		return err
	case "member":
		return w.member(cluster.NodeName(args[0]), args[1:])
	case "heard":
		return w.heard(cluster.NodeName(args[0]), args[1:])
	case "gone":
		url := w.find(cluster.NodeName(args[0])).PeerURL()
		w.st.Etcd.Members = slices.DeleteFunc(w.st.Etcd.Members, func(m cluster.Member) bool { return m.PeerURL == url })
	case "noquorum":
		w.st.Etcd.Quorum, w.st.Etcd.Asked, w.st.Etcd.Members, w.st.Etcd.Err = false, false, nil, "nobody answers"
	case "stale":
		w.st.Etcd.Quorum, w.st.Etcd.Auth, w.st.Etcd.Err = false, cluster.Auth{}, "no leader known"
	case "mixed":
		w.st.Etcd.Quorum, w.st.Etcd.Members = false, nil
		w.st.Etcd.Mixed = "members of different clusters answer: https://10.0.0.1:2379 is of cluster c1, https://10.0.0.2:2379 is of cluster ee"
	case "stranger":
		m := cluster.Member{ID: 0x57, Name: "who", PeerURL: "https://" + args[0] + ":2380", RaftIndex: 5000, RaftApplied: 5000, RaftTerm: 2}
		m.Healthy, m.Leader = args[1] != "down", args[1] == "leader"
		if !m.Healthy {
			m.UnhealthySince = w.now.Add(-6 * time.Minute)
		}
		w.st.Etcd.Members = append(w.st.Etcd.Members, m)
	case "clusterid":
		_, err := fmt.Sscanf(args[0], "%x", (*uint64)(&w.st.Etcd.ClusterID))
		return err
	case "auth":
		w.st.Etcd.Auth.Enabled = false
		w.st.Etcd.Auth.Known = args[0] != "unknown"
	case "user":
		w.st.Users = append(w.st.Users, cluster.User{Name: args[0], Prefix: args[1]})
	case "removed":
		w.st.RemovedUsers = append(w.st.RemovedUsers, cluster.RemovedUser{User: cluster.User{Name: args[0], Prefix: args[1]}, At: w.now})
	case "etcduser":
		w.st.Etcd.Auth.Users[args[0]] = args[1:]
	case "etcdrole":
		w.st.Etcd.Auth.Roles[args[0]] = []cluster.Permission{{Key: args[1], RangeEnd: cluster.PrefixRangeEnd(args[1]), Type: "READWRITE"}}
	default:
		if known, err := w.members(f[0], args); known {
			return err
		}
		return w.space(f[0], args)
	}
	return nil
}

func (w *world) node(args []string) error {
	a, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	n := cluster.Node{Hostname: cluster.NodeName(args[0]), Address: a, ControlPlane: !slices.Contains(args, "worker")}
	if slices.Contains(args, "remote") {
		n.User = "cke"
	}
	n.Gateway, n.APIServer = slices.Contains(args, "gateway"), slices.Contains(args, "apiserver")
	for _, a := range args {
		if zone, ok := strings.CutPrefix(a, "zone="); ok {
			n.Zone = zone
		}
	}
	if slices.Contains(args, "leaving") {
		w.st.Leaving = append(w.st.Leaving, n)
	} else {
		w.spec.Nodes = append(w.spec.Nodes, n)
	}
	w.st.Nodes[n.Hostname] = cluster.NodeState{Versions: []string{"3.7.3"}, Arch: "amd64"}
	return nil
}

func (w *world) phase(p cluster.Phase) {
	if p == "new" || p == "forget" {
		w.st.Bootstrap = cluster.Bootstrap{}
		return
	}
	w.st.Bootstrap = cluster.Bootstrap{Phase: p, Token: token}
	founders := w.spec.Nodes
	if len(w.st.Leaving) >= 3 {
		founders = w.st.Leaving
	}
	for _, n := range founders {
		if n.ControlPlane {
			w.st.Bootstrap.Founders = append(w.st.Bootstrap.Founders, cluster.Founder{Node: n, Member: idOf(n)})
		}
	}
	if p == cluster.PhaseBootstrapped {
		w.st.Bootstrap.ClusterID = 0xc1
	}
}

func idOf(n cluster.Node) cluster.MemberID { return cluster.BootstrapMemberID(token, n.PeerURL()) }

func (w *world) heard(name cluster.NodeName, args []string) error {
	h := cluster.Heard{Member: idOf(w.find(name))}
	var ago string
	if _, err := fmt.Sscan(strings.Join(args, " "), &h.Bytes, &h.RaftIndex, &h.RaftTerm, &ago); err != nil {
		return err
	}
	d, err := time.ParseDuration(ago)
	h.At, h.AskedAt = w.now.Add(-d), w.now.Add(-d)
	h.Lost = slices.Contains(args, "lost")
	if w.st.Heard == nil {
		w.st.Heard = map[cluster.NodeName]cluster.Heard{}
	}
	w.st.Heard[name] = h
	w.edit(string(name), func(ns *cluster.NodeState) {
		for i := range ns.Data {
			ns.Data[i].Bytes = h.Bytes
		}
	})
	return err
}

func (w *world) find(name cluster.NodeName) cluster.Node {
	for _, n := range append(slices.Clone(w.spec.Nodes), w.st.Leaving...) {
		if n.Hostname == name {
			return n
		}
	}
	panic("no node " + string(name))
}

func (w *world) edit(name string, fn func(*cluster.NodeState)) {
	ns := w.st.Nodes[cluster.NodeName(name)]
	fn(&ns)
	w.st.Nodes[cluster.NodeName(name)] = ns
}

// serve makes a node carry a serving voter and etcd answer.
func (w *world) serve(name cluster.NodeName, leads bool) {
	n := w.find(name)
	u := wantedUnit(w.spec, n, idOf(n))
	w.edit(string(name), func(ns *cluster.NodeState) {
		ns.Unit = &cluster.UnitState{Unit: u, Running: true, Started: &u, Sealed: true}
		ns.Data = []cluster.DataDir{{Member: u.Member, WAL: true, Mark: true}}
	})
	e := &w.st.Etcd
	e.Asked, e.Quorum, e.ClusterID = true, true, 0xc1
	e.Members = append(e.Members, cluster.Member{
		ID: u.Member, Name: string(name), PeerURL: n.PeerURL(), Healthy: true, Leader: leads,
		RaftIndex: 5000, RaftApplied: 5000, RaftTerm: 2,
	})
	e.Auth = cluster.Auth{
		Known: true, Enabled: true,
		Users: map[string][]string{"root": {"root"}, "kube-apiserver": {"kube-apiserver"}},
		Roles: map[string][]cluster.Permission{
			"root":           {{Key: "", RangeEnd: "\x00", Type: "READWRITE"}},
			"kube-apiserver": {{Key: "/registry/", RangeEnd: "/registry0", Type: "READWRITE"}},
		},
	}
}

func (w *world) member(name cluster.NodeName, args []string) error {
	id, err := idOf(w.find(name)), error(nil)
	if args[0] != "=" {
		id, err = cluster.ParseMemberID(args[0])
	}
	m := cluster.Member{ID: id, Name: string(name), PeerURL: w.find(name).PeerURL(), Healthy: true, RaftIndex: 5000, RaftApplied: 5000, RaftTerm: 2}
	for i, a := range args {
		switch a {
		case "leader":
			m.Leader = true
		case "learner":
			m.Learner = true
		case "unstarted":
			m.Name, m.Healthy = "", false
		case "down":
			d, err := time.ParseDuration(args[i+1])
			if err != nil {
				return err
			}
			m.Healthy, m.UnhealthySince, m.Leader = false, w.now.Add(-d), false
		case "index":
			if _, err := fmt.Sscan(args[i+1], &m.RaftApplied); err != nil {
				return err
			}
			m.RaftIndex = m.RaftApplied
		}
	}
	for i, o := range w.st.Etcd.Members {
		if o.PeerURL == m.PeerURL {
			w.st.Etcd.Members[i] = m
			return err
		}
	}
	w.st.Etcd.Members = append(w.st.Etcd.Members, m)
	return err
}
