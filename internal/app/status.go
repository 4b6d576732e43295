package app

import (
	"context"
	"slices"
	"strings"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/host/remote"
	"cke/internal/plan"
	"cke/internal/reconcile"
)

// status is a view with what is under way now.
func (c *care) status(v reconcile.View) api.Status {
	s := status(v)
	s.Progress, _ = c.progress.Now()
	s.Kubernetes = kubernetesStatus(v, c.export.conditions())
	return s
}

// status is a view in the API's words.
func status(v reconcile.View) api.Status {
	e := v.State.Etcd
	s := api.Status{
		Cluster: v.Wanted.Spec.Name, Healthy: healthy(v), Phase: v.State.Bootstrap.Phase,
		ClusterID: v.State.Bootstrap.ClusterID, Paused: v.State.Paused, Drains: v.State.Drains, Reboot: v.State.Reboot, Snapshot: v.State.Snapshot,
		Quorum: e.Quorum, AuthOn: e.Auth.Enabled, Alarms: e.Alarms,
		Tolerance: cluster.Tolerance(len(e.Voters()), len(e.HealthyVoters())),
		Plan:      v.Plan, Running: v.Running, ObservedAt: v.State.At.UTC(), SpecRevision: v.Wanted.Revision,
	}
	if u, ok := plan.Quota(v.Wanted.Spec, v.State); ok {
		s.Quota = &u
	}
	s.Settled = s.Healthy && v.Plan.Settled() && len(v.Running) == 0
	for i, n := range v.Wanted.Nodes() {
		ns := v.State.Nodes[n.Hostname]
		st := nodeStatus(n)
		st.Leaving, st.Reachable = i >= len(v.Wanted.Spec.Nodes), ns.Reachable()
		st.Boot = ns.Boot
		st.Error, st.Trouble, st.Hint = ns.Err, ns.Trouble, ns.Hint
		st.Gateway = ns.Gateway
		if m, ok := e.MemberAt(n); ok {
			st.Member = &m
		}
		s.Nodes = append(s.Nodes, st)
	}
	for _, n := range v.Wanted.Left {
		st := nodeStatus(n)
		st.Left = true
		s.Left = append(s.Left, st)
	}
	for _, m := range e.Members {
		if !slices.ContainsFunc(v.Wanted.Nodes(), func(n cluster.Node) bool { return n.PeerURL() == m.PeerURL }) {
			s.Strangers = append(s.Strangers, m)
		}
	}
	return s
}

// kubernetesStatus is what Kubernetes is told and how that goes, first what is not
// as it should be; nil when the spec names none.
func kubernetesStatus(v reconcile.View, conditions []cluster.Condition) *api.KubernetesStatus {
	if v.Wanted.Spec.Kubernetes.Kubeconfig == "" {
		return nil
	}
	k := &api.KubernetesStatus{Endpoints: []cluster.Endpoint{}, Conditions: []cluster.Condition{}}
	k.Endpoints = append(k.Endpoints, v.Endpoints...)
	k.Conditions = append(k.Conditions, conditions...)
	slices.SortStableFunc(k.Conditions, func(a, b cluster.Condition) int {
		switch {
		case a.OK == b.OK:
			return strings.Compare(a.Subject, b.Subject)
		case b.OK:
			return -1
		default:
			return 1
		}
	})
	return k
}

// nodeStatus is what the spec says of a node.
func nodeStatus(n cluster.Node) api.NodeStatus {
	st := api.NodeStatus{Hostname: n.Hostname, Address: n.Address.String(), ControlPlane: n.ControlPlane, Transport: "local"}
	if n.Remote() {
		st.Transport, st.Login = "ssh", remote.Login(n)
	}
	return st
}

// healthy: founded, authentication on, no alarm, and at least the wanted number of voters,
// all serving but those under maintenance. What CKE still has to do or cannot do is another question.
func healthy(v reconcile.View) bool {
	e := v.State.Etcd
	voters, serving := len(e.Voters()), len(e.HealthyVoters())
	return v.State.Bootstrap.Phase == cluster.PhaseBootstrapped && e.Quorum && e.Auth.Enabled && len(e.Alarms) == 0 &&
		serving+spared(v) == voters && voters >= v.Wanted.Spec.WantedVoters()
}

// spared are the voters that do not serve because a person has their nodes drained.
func spared(v reconcile.View) int {
	n := 0
	for _, d := range v.State.Drains {
		for _, m := range v.State.Etcd.Voters() {
			if m.Name == string(d.Node) && !d.Over() && !m.Healthy {
				n++
			}
		}
	}
	return n
}

// watched is what a watcher is told from: a status, whether there is one yet, and
// channels that are closed when it changes, or only its progress does.
type watched func() (s api.Status, ok bool, changed, moved <-chan struct{})

// progressEvery bounds how often a status is sent for no more than progress.
const progressEvery = 250 * time.Millisecond

// follow calls fn with the status now and after every change.
func follow(ctx context.Context, look watched, fn func(api.Status) error) error {
	for {
		s, ok, changed, moved := look()
		if ok {
			if err := fn(s); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
			continue
		case <-moved:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-time.After(progressEvery):
		}
	}
}
