package plan

import (
	"fmt"
	"slices"
	"time"

	"cke/internal/cluster"
)

func (w *world) host(name cluster.NodeName, args []string) error {
	var err error
	w.edit(string(name), func(ns *cluster.NodeState) {
		switch args[0] {
		case "unreachable":
			*ns = cluster.NodeState{Err: "dial 10.0.0.1:22: i/o timeout", UnreachableSince: w.now}
			if len(args) > 1 {
				var d time.Duration
				d, err = time.ParseDuration(args[1])
				ns.UnreachableSince = w.now.Add(-d)
			}
		case "trouble":
			*ns = cluster.NodeState{
				Err: "what is wrong with 10.0.0.1:22", Trouble: cluster.Trouble(args[1]), Hint: "what to do", UnreachableSince: w.now,
			}
		case "awaited":
			*ns = cluster.NodeState{Err: "it has not answered for 2.1s", Awaited: true, UnreachableSince: w.now}
		case "answered": // so long ago, to an earlier question
			var d time.Duration
			d, err = time.ParseDuration(args[1])
			ns.AnsweredAt = w.now.Add(-d)
		case "back": // since so long ago
			var d time.Duration
			d, err = time.ParseDuration(args[1])
			ns.AnswersSince = w.now.Add(-d)
		case "fenced":
			ns.Fenced = "the host belongs to the CKE store b2, this one is a1"
		case "deposed":
			ns.Deposed, ns.Fenced = true, "a newer leader of this store has acted on the host (epoch 9, this one is 2)"
		case "aside":
			ns.Aside = []string{"4b33d1e6f8613242-20260102T030405.000Z"}
		case "foreign":
			ns.Foreign = []string{"unit etcd.service, which is not CKE's, is active", "/var/lib/etcd holds the data of an etcd that is not CKE's"}
		case "busy":
			ns.BusyPorts = []int{2379}
		case "certs":
			ns.Certificates, ns.CertificatesFail, ns.CertificatesBar = []string{"server.crt is missing"}, true, true
			if len(args) > 1 {
				ns.Certificates, ns.CertificatesFail, ns.CertificatesBar = []string{"server.crt lacks the name cke-etcd.kube-system.svc.example.org"}, false, false
			}
		case "version":
			if ns.Versions = []string{args[1]}; args[1] == "none" {
				ns.Versions = nil
			}
		case "arch":
			ns.Arch = args[1]
		default:
			err = fmt.Errorf("unknown word %q", args[0])
		}
	})
	return err
}

func (w *world) unit(name cluster.NodeName, args []string) error {
	n := w.find(name)
	id := idOf(n)
	if len(args) > 0 {
		if given, err := cluster.ParseMemberID(args[0]); err == nil {
			id = given
		}
	}
	u := wantedUnit(w.spec, n, id)
	us := &cluster.UnitState{Unit: u, Running: true, Started: &u, Sealed: true}
	for _, a := range args {
		switch a {
		case "stopped":
			us.Running, us.Started = false, nil
		case "unsealed":
			us.Sealed = false
		case "ended":
			us.Exit, us.Log = "exit status 1", "cannot lock data directory\n"
		case "killed":
			us.Running, us.Started, us.Exit = false, nil, "signal: killed"
		case "roomless":
			us.Running, us.Started, us.Exit = false, nil, "exit status 1: save raft entries: write wal: no space left on device"
		case "refuses":
			us.Running, us.Started, us.Exit = false, nil, "exit status 1: checking initial corruption: 3e35 found data inconsistency with peers"
		case "lost":
			us.DataLost = true
		case "unmounted":
			us.NotMounted = "/var/lib/cke"
		case "overridden":
			us.Overridden = "unit etcd-main.service is masked"
		case "flags":
			old := u
			old.Quota--
			us.Started = &old
		case "staleca":
			us.StaleCA = true
		case "unfinished":
			us.Unfinished = true
		case "old":
			us.Unit.Quota--
			if us.Running {
				us.Started = &us.Unit
			}
		case "founding":
			peers := map[cluster.NodeName]string{}
			for _, f := range w.st.Bootstrap.Founders {
				peers[f.Node.Hostname] = f.Node.PeerURL()
			}
			us.Unit.Founding = &cluster.Founding{New: true, Token: token, Peers: peers}
		case "joining":
			us.Unit = joiningUnit(newInput(w.spec, w.st, w.now), n, cluster.Member{ID: id})
		}
	}
	w.edit(string(name), func(ns *cluster.NodeState) {
		ns.Unit = us
		ns.EndedAnew = slices.Contains(args, "refuses") && !slices.Contains(args, "unseen")
	})
	return nil
}
