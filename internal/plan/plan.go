// Package plan decides. Decide is a pure function from what is wanted and what
// is to what should be done next: no I/O, no clock, no log. A Plan is data; the
// CLI, the log, the API and the golden tests print the same Plan.String.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"cke/internal/cluster"
)

// Kind names what a step does, verb first.
type Kind string

// Every kind of step there is.
const (
	CheckHosts          Kind = "check-hosts"
	InstallEtcd         Kind = "install-etcd"
	RecordBootstrap     Kind = "record-bootstrap"
	InstallCertificates Kind = "install-certificates"
	InstallUnits        Kind = "install-units"
	StartMembers        Kind = "start-members"
	ConfigureAuth       Kind = "configure-auth"
	FinishBootstrap     Kind = "finish-bootstrap"
	AddLearner          Kind = "add-learner"
	PromoteLearner      Kind = "promote-learner"
	MoveLeader          Kind = "move-leader"
	RemoveMember        Kind = "remove-member"
	RetireMember        Kind = "retire-member"
	ForgetNode          Kind = "forget-node"
	ForgetUser          Kind = "forget-user"
	Compact             Kind = "compact"
	Defragment          Kind = "defragment"
	DisarmAlarm         Kind = "disarm-alarm"
	ForgetDefrag        Kind = "forget-defrag"
	// Of nodes under maintenance.
	StopMember  Kind = "stop-member"
	FinishDrain Kind = "finish-drain"
	// Of machines that are rebooted.
	DrainNode     Kind = "drain-node"
	UndrainNode   Kind = "undrain-node"
	RebootMachine Kind = "reboot-machine"
	FinishReboot  Kind = "finish-reboot"
	// For Kubernetes, on the hosts that ask for it.
	InstallClientCertificates Kind = "install-client-certificates"
	PutGateway                Kind = "put-gateway"
	RemoveGateway             Kind = "remove-gateway"
	// A change of settings goes from member to member.
	RestartMember  Kind = "restart-member"
	FinishRestart  Kind = "finish-restart"
	RollBackMember Kind = "roll-back-member"
	// Before etcd's version changes.
	TakeSnapshot    Kind = "take-snapshot"
	EnableDowngrade Kind = "enable-downgrade"
	CancelDowngrade Kind = "cancel-downgrade"
)

// Step is one thing to do, as data. Every step of a plan may be carried out
// now, whatever becomes of the others.
type Step struct {
	Kind Kind `json:"kind"`
	// Nodes are worked on in parallel.
	Nodes []cluster.NodeName `json:"nodes,omitempty"`
	// Member is the subject of a membership change.
	Member cluster.MemberID `json:"member,omitzero"`
	// To is where leadership goes.
	To cluster.MemberID `json:"to,omitzero"`
	// DataLost: the member is removed because its host says that its data is
	// gone. The host is asked again immediately before.
	DataLost bool `json:"data_lost,omitempty"`
	// Serving: the voter that is removed serves. It stays for now if it does not any
	// more: its machine may have gone, and its peers not know it.
	Serving bool `json:"serving,omitempty"`
	// Corrupt: the member is removed because its data is not that of the others.
	// All are compared again immediately before.
	Corrupt bool `json:"corrupt,omitempty"`
	// NotServing: the member is removed because it does not serve. It is asked again
	// immediately before, and stays if it answers.
	NotServing bool `json:"not_serving,omitempty"`
	// StopFirst: the member that is removed is stopped before, and so ends the
	// connections of its clients itself.
	StopFirst bool `json:"stop_first,omitempty"`
	// ByHost: the learner is promoted because its host says that it has caught up;
	// it serves nobody yet. The host is asked again immediately before.
	ByHost bool   `json:"by_host,omitempty"`
	Reason string `json:"reason"`
	// Tolerance is set on steps that change who votes or serves.
	Tolerance *Tolerance `json:"tolerance,omitempty"`
	// The data a step carries; at most one is set.
	Version   string             `json:"version,omitempty"` // of etcd, to be installed or to go down to
	Units     []cluster.Unit     `json:"units,omitempty"`
	Bootstrap *cluster.Bootstrap `json:"bootstrap,omitempty"`
	Auth      []AuthChange       `json:"auth,omitempty"`
	Gateway   *cluster.Gateway   `json:"gateway,omitempty"`
	Drain     *cluster.Drain     `json:"drain,omitempty"`
	Reboot    *cluster.Reboot    `json:"reboot,omitempty"`
	// Alarm is the kind of alarm that is disarmed.
	Alarm string `json:"alarm,omitempty"`
	// Revision is what is compacted to.
	Revision int64 `json:"revision,omitempty"`
	// Interrupts: the cluster stands still meanwhile, and the reason says how long.
	Interrupts bool `json:"interrupts,omitempty"`
	// User is a removed one that etcd knows no more.
	User *cluster.RemovedUser `json:"user,omitempty"`
	// Restart is the record of a restart, to be written or dropped.
	Restart *cluster.Restart `json:"restart,omitempty"`
	// Snapshot is one to be taken.
	Snapshot *cluster.Snapshot `json:"snapshot,omitempty"`
}

// Tolerance is how many voters may fail without losing quorum, before, during
// and after a step.
type Tolerance struct {
	Before int `json:"before"`
	During int `json:"during"`
	After  int `json:"after"`
}

// Level says how much a reason matters.
type Level string

const (
	// Note is shown and blocks nothing.
	Note Level = "note"
	// Waiting resolves by itself.
	Waiting Level = "waiting"
	// Blocked needs a person, or something outside CKE to come back.
	Blocked Level = "blocked"
)

// Reason is why something is not done.
type Reason struct {
	Level Level            `json:"level"`
	Rule  string           `json:"rule"` // a sentence in camel case, such as quorumIsLost
	Node  cluster.NodeName `json:"node,omitempty"`
	Text  string           `json:"text"`
	Hint  string           `json:"hint,omitempty"`
}

// Plan is what to do now and what is held back.
type Plan struct {
	Cluster string   `json:"cluster"`
	Steps   []Step   `json:"steps,omitempty"`
	Reasons []Reason `json:"reasons,omitempty"`
}

// Settled: nothing to do, nothing waited for, nothing blocked.
func (p Plan) Settled() bool {
	return len(p.Steps) == 0 && !p.Has(Waiting) && !p.Has(Blocked)
}

// Has says whether any reason is of this level.
func (p Plan) Has(l Level) bool {
	for _, r := range p.Reasons {
		if r.Level == l {
			return true
		}
	}
	return false
}

// CatchesUp says whether a learner is awaited.
func (p Plan) CatchesUp() bool {
	return slices.ContainsFunc(p.Reasons, func(r Reason) bool { return r.Rule == learnerIsCatchingUp })
}

// Key identifies the same step across plans: what is done to whom.
func (s Step) Key() string {
	k := string(s.Kind)
	for _, n := range s.Nodes {
		k += " " + string(n)
	}
	if s.Member != 0 {
		k += " " + s.Member.String()
	}
	if s.To != 0 { // a node may carry another member by now
		k += " " + s.To.String()
	}
	if s.Version != "" {
		k += " " + s.Version
	}
	if s.Alarm != "" {
		k += " " + s.Alarm
	}
	if s.User != nil {
		k += " " + s.User.Name
	}
	return k
}

// String is one line: the kind, its targets, the tolerance, the reason.
func (s Step) String() string {
	var b strings.Builder
	fmt.Fprint(&b, s.Kind)
	for _, n := range s.Nodes {
		fmt.Fprintf(&b, " %s", n)
	}
	if s.Member != 0 {
		fmt.Fprintf(&b, " member=%s", s.Member)
	}
	if s.To != 0 {
		fmt.Fprintf(&b, " to=%s", s.To)
	}
	if s.Alarm != "" {
		fmt.Fprintf(&b, " %s", s.Alarm)
	}
	if s.Revision != 0 {
		fmt.Fprintf(&b, " revision=%d", s.Revision)
	}
	if s.User != nil {
		fmt.Fprintf(&b, " %s", s.User.Name)
	}
	if t := s.Tolerance; t != nil {
		fmt.Fprintf(&b, " [tolerates %d, during %d, after %d]", t.Before, t.During, t.After)
	}
	fmt.Fprintf(&b, ": %s", s.Reason)
	for _, c := range s.Auth {
		fmt.Fprintf(&b, "\n    %s", c)
	}
	return b.String()
}

// String is one line, and a second with the hint.
func (r Reason) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Level, r.Rule)
	if r.Node != "" {
		fmt.Fprintf(&b, " %s", r.Node)
	}
	fmt.Fprintf(&b, ": %s", r.Text)
	if r.Hint != "" {
		fmt.Fprintf(&b, "\n    hint: %s", strings.ReplaceAll(r.Hint, "\n", "\n    "))
	}
	return b.String()
}

// String prints the whole plan, a line each.
func (p Plan) String() string {
	var b strings.Builder
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%d. %s\n", i+1, s)
	}
	for _, r := range p.Reasons {
		fmt.Fprintf(&b, "- %s\n", r)
	}
	if b.Len() == 0 {
		return "nothing to do\n"
	}
	return b.String()
}
