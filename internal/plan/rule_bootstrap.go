package plan

import (
	"fmt"
	"strings"

	"cke/internal/cluster"
)

// ruleBootstrap founds the cluster, once. Until it is recorded as bootstrapped
// no other rule speaks.
func ruleBootstrap(in input) verdict {
	switch in.st.Bootstrap.Phase {
	case cluster.PhaseNew:
		return beginBootstrap(in)
	case cluster.PhaseBootstrapping:
		return resumeBootstrap(in)
	default:
		return verdict{}
	}
}

// beginBootstrap demands that every host of the spec answers and is bare, and of
// the founders that they pass their preflight: an empty record beside existing data means that the record was lost.
func beginBootstrap(in input) verdict {
	v := verdict{stop: true}
	for _, n := range in.spec.Nodes {
		if r, ok := notBare(in, n); ok {
			v.reasons = append(v.reasons, r)
		}
	}
	if len(v.reasons) > 0 {
		return v
	}
	fit, checked := preflight(in, in.wanted)
	v.steps, v.reasons = checked.steps, checked.reasons
	rivals := in.unmeasuredRivals(in.wanted)
	if v.steps = joinChecks(v.steps, rivals); len(rivals) > 0 || len(fit) < len(in.wanted) {
		return v
	}
	names := make([]cluster.NodeName, len(in.wanted))
	ready := true // nobody founds before everybody can
	for i, n := range in.wanted {
		names[i] = n.Hostname
		if !hasVersion(in.node(n.Hostname), in.spec.Etcd.Version) {
			in.needVersion(&v, n, in.spec.Etcd.Version)
			ready = false
		}
	}
	if !ready {
		return v
	}
	v.steps = []Step{{
		Kind: RecordBootstrap, Nodes: names,
		Reason: fmt.Sprintf("found cluster %s on these nodes; every host is bare", in.spec.Name),
	}}
	return v
}

func notBare(in input, n cluster.Node) (Reason, bool) {
	ns := in.node(n.Hostname)
	r := Reason{Level: Blocked, Node: n.Hostname}
	switch {
	case ns.Awaited:
		return hostIsSlow(n, ns), true
	case !ns.Reachable():
		r.Rule, r.Text = "everyHostMustAnswer", "the host does not answer: "+ns.Err
		r.Hint = "a cluster is founded only when every host says that it is bare"
		return unanswered(n, ns, r), true
	case ns.Unit != nil || len(ns.Data) > 0:
		r.Rule, r.Text = "dataWithoutRecord", "the host carries "+describeData(ns)+" of this cluster, but CKE's store knows of no bootstrap"
		r.Hint = "the store was lost or is another one: start from a state backup with cke --restore-state FILE; to give the data up, move it away by hand"
	case len(ns.Aside) > 0:
		return carriedBefore(n, ns), true
	case ns.Fenced != "":
		r.Rule, r.Text = "hostObeysAnother", ns.Fenced
		r.Hint = "ckecli node claim " + string(n.Hostname)
	case !n.ControlPlane:
		return r, false
	case len(ns.Foreign) > 0:
		return anotherEtcd(n, ns), true
	case len(ns.BusyPorts) > 0:
		return portsBusy(n, ns), true
	default:
		return r, false
	}
	return r, true
}

func portsBusy(n cluster.Node, ns cluster.NodeState) Reason {
	return Reason{
		Level: Blocked, Rule: "portsMustBeFree", Node: n.Hostname,
		Text: fmt.Sprintf("ports %v of %s are in use by another program", ns.BusyPorts, n.Address),
		Hint: "stop it, or choose another address",
	}
}

// anotherEtcd: CKE adopts no etcd and installs none beside it.
func anotherEtcd(n cluster.Node, ns cluster.NodeState) Reason {
	return Reason{
		Level: Blocked, Rule: "hostRunsAnotherEtcd", Node: n.Hostname,
		Text: "the host has an etcd that is not CKE's: " + strings.Join(ns.Foreign, "; "),
		Hint: "stop and disable it and move its data away, or choose another host",
	}
}

// carriedBefore: a founding has already been, whatever the store remembers.
func carriedBefore(n cluster.Node, ns cluster.NodeState) Reason {
	return Reason{
		Level: Blocked, Rule: "hostCarriedMemberBefore", Node: n.Hostname,
		Text: fmt.Sprintf("data of this cluster was moved aside on the host (%s): it was founded before", strings.Join(ns.Aside, ", ")),
		Hint: "CKE's state is older than the cluster; look where its members are now. To found it anew, move that data away by hand",
	}
}

func describeData(ns cluster.NodeState) string {
	var what []string
	if ns.Unit != nil {
		what = append(what, "a unit of member "+ns.Unit.Unit.Member.String())
	}
	for _, d := range ns.Data {
		what = append(what, "data of member "+d.Member.String())
	}
	return strings.Join(what, " and ")
}

// resumeBootstrap carries on with the recorded founders, whatever the spec says
// by now; the other rules adjust the membership afterwards.
func resumeBootstrap(in input) verdict {
	v := verdict{stop: true}
	peers := map[cluster.NodeName]string{}
	for _, f := range in.st.Bootstrap.Founders {
		peers[f.Node.Hostname] = f.Node.PeerURL()
	}
	var certs, start []cluster.NodeName
	var units []cluster.Unit
	var missing verdict // which holds the others up no more than a stuck founder
	for _, f := range in.st.Bootstrap.Founders {
		n := f.Node
		ns := in.node(n.Hostname)
		if r, ok := founderStuck(f, ns); ok {
			v.reasons = append(v.reasons, r)
			continue
		}
		if !hasVersion(ns, in.spec.Etcd.Version) && (ns.Unit == nil || !ns.Unit.Running) {
			in.needVersion(&missing, n, in.spec.Etcd.Version)
			v.reasons, missing.reasons = append(v.reasons, missing.reasons...), nil
			continue
		}
		want := mended(ns.Unit, wantedUnit(in.spec, n, f.Member))
		sealed := ns.Unit != nil && ns.Unit.Sealed
		if !sealed {
			want.Founding = &cluster.Founding{New: true, Token: in.st.Bootstrap.Token, Peers: peers}
		}
		if len(ns.Certificates) > 0 {
			certs = append(certs, n.Hostname)
		}
		// What has begun to run keeps its settings until its turn comes: its data may be of
		// a newer etcd than the spec wants by now.
		runs := ns.Unit != nil && ns.Unit.Running
		switch {
		case ns.Unit == nil || (!sealed && !runs || keepsEnding(ns.Unit)) && !ns.Unit.Unit.Equal(want):
			units = append(units, want)
		case ns.Full():
			v.reasons = append(v.reasons, fileSystemIsFull(n, ns))
		case !ns.Unit.Running || !sealed:
			start = append(start, n.Hostname)
		}
	}
	if len(certs) > 0 {
		v.steps = append(v.steps, Step{Kind: InstallCertificates, Nodes: certs, Reason: "the founding members need their certificates"})
	}
	if len(units) > 0 {
		v.steps = append(v.steps, unitStep(units, "the founding members need their units"))
	}
	if len(v.steps) == 0 && len(start) > 0 {
		v.steps = []Step{{Kind: StartMembers, Nodes: start, Reason: "start the founding members"}}
	}
	if len(v.steps) == 0 {
		v = finishBootstrap(in, v)
	}
	v.steps = append(v.steps, missing.steps...)
	return v
}

func founderStuck(f cluster.Founder, ns cluster.NodeState) (Reason, bool) {
	r := Reason{Level: Blocked, Node: f.Node.Hostname}
	switch {
	case ns.Awaited:
		return hostIsSlow(f.Node, ns), true
	case !ns.Reachable():
		r.Rule, r.Text = "founderIsUnreachable", "the host of a founding member does not answer: "+ns.Err
		return unanswered(f.Node, ns, r), true
	case ns.Fenced != "":
		r.Rule, r.Text, r.Hint = "hostObeysAnother", ns.Fenced, "ckecli node claim "+string(f.Node.Hostname)
	case len(ns.Aside) > 0:
		return carriedBefore(f.Node, ns), true
	case len(ns.Foreign) > 0:
		return anotherEtcd(f.Node, ns), true
	case ns.Unit != nil && ns.Unit.NotMounted != "":
		return diskNotMounted(f.Node, ns), true
	case ns.Unit != nil && ns.Unit.DataLost:
		r.Rule, r.Text = "founderLostItsData", "the founding member "+f.Member.String()+" has lost its data directory"
		r.Hint = "it is rebuilt from the others once the cluster is founded"
	default:
		return r, false
	}
	return r, true
}

// finishBootstrap turns authentication on and then records the deed. A founder
// that has been away for replace_after does not hold it up any longer.
func finishBootstrap(in input, v verdict) verdict {
	e := in.st.Etcd
	if !e.Quorum || !e.Auth.Known {
		v.reasons = append(v.reasons, Reason{Level: Waiting, Rule: "membersAreStarting", Text: "the founding members are starting: " + orElse(e.Err, "no leader yet")})
		return v
	}
	if changes := authChanges(in); len(changes) > 0 {
		v.steps = []Step{{Kind: ConfigureAuth, Auth: changes, Reason: "turn authentication on before anyone gets a certificate"}}
		return v
	}
	for _, m := range e.Members {
		if m.Healthy || in.now.Sub(m.UnhealthySince) >= in.spec.Etcd.ReplaceAfter.Std() && !m.UnhealthySince.IsZero() {
			continue
		}
		v.reasons = append(v.reasons, Reason{Level: Waiting, Rule: "everyFounderMustServe", Node: in.name(m), Text: "the member does not serve yet: " + orElse(m.Err, "no leader known")})
	}
	if !(Plan{Reasons: v.reasons}).Has(Waiting) {
		v.steps = []Step{{
			Kind: FinishBootstrap, Reason: "authentication is on and every founding member serves",
			Bootstrap: &cluster.Bootstrap{
				Phase: cluster.PhaseBootstrapped, Token: in.st.Bootstrap.Token,
				Founders: in.st.Bootstrap.Founders, ClusterID: e.ClusterID,
			},
		}}
	}
	return v
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
