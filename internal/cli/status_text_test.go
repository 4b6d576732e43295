package cli

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/units"
)

func TestStatusText(t *testing.T) {
	for name, change := range map[string]func(*api.Status){
		"healthy": func(*api.Status) {},
		"new": func(st *api.Status) {
			st.Healthy, st.Settled, st.Quorum, st.AuthOn, st.Phase = false, false, false, false, cluster.PhaseNew
			for i := range st.Nodes {
				st.Nodes[i].Member = nil
			}
			st.Plan.Steps = []plan.Step{{Kind: plan.RecordBootstrap, Nodes: []cluster.NodeName{"cp1", "cp2", "cp3"}, Reason: "the cluster was never bootstrapped"}}
		},
		"bootstrapping": func(st *api.Status) { st.Healthy, st.Phase = false, cluster.PhaseBootstrapping },
		"auth_off":      func(st *api.Status) { st.Healthy, st.AuthOn = false, false },
		"more_to_do": func(st *api.Status) {
			st.Settled = false
			st.Plan.Reasons = []plan.Reason{{Level: plan.Note, Rule: "spareIsIdle", Node: "cp4", Text: "it may carry a member"}}
		},
		"no_space": func(st *api.Status) {
			st.Healthy, st.Settled = false, false
			st.Alarms = []cluster.Alarm{{Member: 7, Kind: "NOSPACE"}, {Member: 8, Kind: "NOSPACE"}}
			st.Quota = &plan.QuotaUse{Node: "cp2", Bytes: 1 << 30, InUse: 300 << 20, Quota: 1 << 30, FullIn: units.Duration(72 * time.Hour)}
			st.Nodes[1].Member.Alarms = []string{"NOSPACE"}
			st.Plan.Steps = []plan.Step{{Kind: plan.Compact, Revision: 9000, Reason: "alarm NOSPACE"}}
		},
		"quorum_lost": func(st *api.Status) {
			st.Healthy, st.Settled, st.Quorum, st.Tolerance = false, false, false, -1
			st.ObservedAt = start().Add(-2 * time.Minute)
			for i := 1; i < 3; i++ {
				n := &st.Nodes[i]
				n.Reachable, n.Error = false, "dial "+n.Address+":22: i/o timeout"
				n.Member.Healthy, n.Member.Version, n.Member.RaftIndex, n.Member.DBSize = false, "", 0, 0
				n.Member.UnhealthySince = start().Add(-50*time.Second - 300*time.Millisecond)
				n.Member.Err = "context deadline exceeded while it was asked for its status, as every one of the members of this cluster is"
			}
			st.Nodes[0].Member.Alarms = []string{"NOSPACE"}
			st.Nodes[3].Leaving, st.Nodes[3].Reachable = true, false
			st.Plan.Reasons = []plan.Reason{
				{Level: plan.Waiting, Rule: "hostIsSilent", Node: "cp2", Text: "it has not answered for 20 s", Hint: ""},
				{Level: plan.Blocked, Rule: "hostIsUnreachable", Node: "cp3", Text: "the host does not answer: dial 10.77.0.13:22: i/o timeout"},
				{Level: plan.Blocked, Rule: "quorumIsLost", Text: "1 of 3 voters serve and 2 are needed, so no member can be added or removed", Hint: "start cp2 or cp3 again; if they are gone for good, a backup has to be restored"},
			}
		},
		"nobody_answers": func(st *api.Status) {
			st.Healthy, st.Settled, st.Quorum, st.Tolerance = false, false, false, -1
			for i := range st.Nodes {
				st.Nodes[i].Member = nil
			}
			st.Plan.Reasons = []plan.Reason{{Level: plan.Blocked, Rule: "restoreIsNeeded", Text: "3 voters, a quorum is 2, and at most 0 still have their data"}}
		},
		"split": func(st *api.Status) {
			st.Healthy, st.Settled, st.Quorum, st.Tolerance = false, false, false, 0
			for i := range st.Nodes {
				st.Nodes[i].Member = nil
			}
			st.Plan.Reasons = []plan.Reason{{Level: plan.Blocked, Rule: "clustersAreMixed", Text: "the cluster is split into several that all serve"}}
		},
		"installing": func(st *api.Status) {
			st.Healthy, st.Settled, st.Quorum, st.AuthOn, st.Phase = false, false, false, false, cluster.PhaseNew
			for i := range st.Nodes {
				st.Nodes[i].Member = nil
			}
			st.Plan.Steps = []plan.Step{{Kind: plan.InstallEtcd, Nodes: []cluster.NodeName{"cp1", "cp2"}, Version: "3.7.3", Reason: "etcd 3.7.3 is not installed on these hosts"}}
			st.Progress = []cluster.Progress{
				{Node: "cp1", What: "installing etcd 3.7.3", Done: 5 << 20, Total: 10 << 20},
				{Node: "cp2", What: "installing etcd 3.7.3", Done: 1 << 20, Total: 10 << 20},
			}
		},
		"running": func(st *api.Status) {
			st.Settled = false
			st.Running = []plan.Step{{Kind: plan.InstallCertificates, Nodes: []cluster.NodeName{"cp3"}, Reason: "cp3: server.crt is missing"}}
			st.Plan.Reasons = []plan.Reason{{Level: plan.Waiting, Rule: "hostIsSlow", Node: "cp3", Text: "the host is slow to answer: it has not answered for 2.1s"}}
		},
		"kubernetes": func(st *api.Status) {
			st.Kubernetes = kubernetesStatus(st.Nodes)
			for i := range 2 {
				st.Nodes[i].Gateway = &cluster.GatewayState{
					Running: true, Applied: true, Connections: map[cluster.NodeName]int{"cp1": 2, "cp3": 40},
					Gateway: cluster.Gateway{Upstreams: []cluster.Upstream{{Node: "cp1"}, {Node: "cp2", Draining: true}, {Node: "cp3"}}},
				}
			}
			st.Nodes[1].Gateway.Applied = false
			st.Nodes[1].Gateway.Gateway.Upstreams[1].Restarting = true
			st.Nodes[3].Gateway = &cluster.GatewayState{Exit: "exit status 1: listen tcp 127.0.0.1:12379: bind: address already in use by another program on it"}
		},
		"kubernetes_ill": func(st *api.Status) {
			st.Kubernetes = kubernetesStatus(st.Nodes)
			e := st.Kubernetes.Endpoints
			e[0].Ready, e[0].Terminating = false, true
			e[1].Ready, e[1].Serving = false, false
			st.Kubernetes.Conditions = append([]cluster.Condition{
				{Subject: "endpoints", Rule: "apiServerIsUnreachable", Text: "the API server at https://10.77.0.100:6443 does not answer: dial tcp 10.77.0.100:6443: connect: connection refused", Hint: "etcd's care goes on; what was published last stays", Since: start()},
				{Subject: "secret shop/etcd-app", Rule: "namespaceIsMissing", Text: "namespace shop is not there", Since: start()},
			}, st.Kubernetes.Conditions[2:]...)
		},
		"kubernetes_begins": func(st *api.Status) {
			st.Kubernetes = &api.KubernetesStatus{Endpoints: kubernetesStatus(st.Nodes).Endpoints}
		},
		"upgrading": func(st *api.Status) {
			st.Settled = false
			st.Snapshot = &cluster.Snapshot{
				From: "3.6.16", To: "3.7.3", At: start(), Host: "cke-a.mgmt.example.org", Bytes: 21 << 20, Revision: 4711,
				Path: "/var/lib/cke/snapshots/main/etcd-20260102-030405.backup",
			}
		},
		"drained": func(st *api.Status) {
			st.Tolerance = 0
			m := st.Nodes[1].Member
			st.Nodes[1].Member = &cluster.Member{ID: m.ID, PeerURL: m.PeerURL, Name: m.Name, Err: "its process does not run"}
			st.Drains = []cluster.Drain{{Node: "cp2", By: "ada", At: start()}}
			st.Plan.Reasons = []plan.Reason{{Level: plan.Note, Rule: "nodeIsDrained", Node: "cp2", Text: "drained by ada: its member is stopped", Hint: "ckecli node undrain cp2"}}
		},
		"paused": func(st *api.Status) {
			st.Settled = false
			st.Paused = &cluster.Pause{By: "uid 0 (root)", Why: "switch upgrade", At: start()}
			st.Plan.Steps = []plan.Step{{
				Kind: plan.AddLearner, Nodes: []cluster.NodeName{"cp4"}, Reason: "4 voters are wanted and there are 3",
				Tolerance: &plan.Tolerance{Before: 1, During: 1, After: 1},
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := healthyStatus()
			change(&st)
			text := statusText(st, start())
			for line := range strings.Lines(text) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > textWidth {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			compareGolden(t, "testdata/status_"+name+".txt", text)
		})
	}
}

// kubernetesStatus is that of a Kubernetes where all is well.
func kubernetesStatus(nodes []api.NodeStatus) *api.KubernetesStatus {
	k := &api.KubernetesStatus{}
	for _, n := range nodes[:3] {
		k.Endpoints = append(k.Endpoints, cluster.Endpoint{
			Member: n.Member.ID, Node: n.Hostname, Address: netip.MustParseAddr(n.Address), Ready: true, Serving: true,
		})
	}
	for _, subject := range []string{"endpoints", "secret shop/etcd-app", "secret web/etcd"} {
		k.Conditions = append(k.Conditions, cluster.Condition{Subject: subject, OK: true, Since: start()})
	}
	return k
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 20 << 10: "20 KiB", 1000 << 10: "1.0 MiB",
		5<<20 + 1<<19: "5.5 MiB", 8 << 30: "8.0 GiB", 5000 << 40: "5000 TiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestHeldBack(t *testing.T) {
	blocked, waiting := plan.Reason{Level: plan.Blocked}, plan.Reason{Level: plan.Waiting}
	for name, c := range map[string]struct {
		st   api.Status
		want bool
	}{
		"blocked":            {api.Status{Plan: plan.Plan{Reasons: []plan.Reason{blocked}}}, true},
		"blocked, but waits": {api.Status{Plan: plan.Plan{Reasons: []plan.Reason{blocked, waiting}}}, false},
		"blocked in a turn":  {api.Status{Plan: plan.Plan{Reasons: []plan.Reason{blocked, {Level: plan.Waiting, Rule: "restartIsPending"}}}}, true},
		"blocked, but acts":  {api.Status{Plan: plan.Plan{Reasons: []plan.Reason{blocked}, Steps: []plan.Step{{}}}}, false},
		"paused":             {api.Status{Paused: &cluster.Pause{}, Plan: plan.Plan{Steps: []plan.Step{{}}}}, true},
		"blocked, but runs":  {api.Status{Running: []plan.Step{{}}, Plan: plan.Plan{Reasons: []plan.Reason{blocked}}}, false},
		"nothing":            {api.Status{}, false},
	} {
		if got := heldBack(c.st); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for want, errs := range map[int][]error{
		exitDone:        {nil},
		exitFailed:      {errors.New("x"), api.Invalid("x", ""), api.NotFound("x", ""), &api.Error{Code: api.CodeFailed}},
		exitUsage:       {&usageError{message: "x"}},
		exitRefused:     {api.Refused("x", "")},
		exitUnreachable: {&api.UnreachableError{Err: errors.New("x")}},
	} {
		for _, err := range errs {
			if got := report(&strings.Builder{}, err); got != want {
				t.Errorf("%v: got %d, want %d", err, got, want)
			}
		}
	}
}

// Why a machine cannot be asked is in its state, and what to do below.
func TestNodesText(t *testing.T) {
	nodes := healthyStatus().Nodes
	for i, trouble := range []cluster.Trouble{cluster.HostKeyUnknown, cluster.HostKeyChanged, cluster.LoginRefused, ""} {
		n := &nodes[i]
		n.Reachable, n.Trouble, n.Error = false, trouble, "what is wrong with "+n.Address+":22"
		if trouble != "" {
			n.Hint = "what to do"
		}
	}
	nodes = append(nodes, nodes[3], nodes[3])
	nodes[4].Trouble, nodes[5].Trouble = cluster.HelperMissing, cluster.HelperVersion
	nodes[5].Transport, nodes[5].Login, nodes[5].Leaving = "local", "", true
	compareGolden(t, "testdata/nodes_trouble.txt", nodesText(nodes, nil))
}

func TestNodesTextTellsWhoIsDrained(t *testing.T) {
	nodes := healthyStatus().Nodes[:2]
	got := nodesText(nodes, []cluster.Drain{{Node: nodes[0].Hostname, Ended: time.Now()}, {Node: nodes[1].Hostname}})
	if lines := strings.Split(got, "\n"); !strings.Contains(lines[1], " ok ") || !strings.Contains(lines[2], " drained ") {
		t.Errorf("got\n%s", got)
	}
}

// A command is typed or copied as it stands, however long it is.
func TestWrapKeepsCommandsWhole(t *testing.T) {
	command := "  ckecli node trust 10.77.0.11 --fingerprint SHA256:wJE6i+3NKuoyYp/t5UozZbjJEe44xogNQnGu0m0sk7M"
	got := wrap("compare it on the machine itself, by somebody who knows, and only then trust it:\n"+command, "hint: ", "  ")
	want := "hint: compare it on the machine itself, by somebody who knows, and only then\n  trust it:\n  " + command + "\n"
	if got != want {
		t.Errorf("got %s", got)
	}
}
