package cluster

import (
	"strings"
	"time"
)

// State is what was observed of one cluster at one instant.
type State struct {
	At        time.Time `json:"at"`
	Bootstrap Bootstrap `json:"bootstrap"`
	// Users are the tenants wanted, from CKE's store, without root and
	// kube-apiserver, which are always wanted.
	Users []User `json:"users"`
	// RemovedUsers are those that etcd may still know.
	RemovedUsers []RemovedUser `json:"removed_users,omitempty"`
	// Defrag are members that a person wants defragmented.
	Defrag []DefragRequest `json:"defrag,omitempty"`
	// Growth is nil until it has been looked at for long enough.
	Growth *Growth `json:"growth,omitempty"`
	// Leaving are nodes gone from the spec whose member or data is not yet out.
	Leaving []Node `json:"leaving,omitempty"`
	// Releases are the etcd binaries this cke can put on a remote host.
	Releases []Release `json:"releases,omitempty"`
	Paused   *Pause    `json:"paused,omitempty"`
	// Snapshot is the last one taken before a change of etcd's version.
	Snapshot *Snapshot `json:"snapshot,omitempty"`
	// SnapshotAway: its file is not on the machine of the cke that looks.
	SnapshotAway bool `json:"snapshot_away,omitempty"`
	// Restart is a member that is being restarted with other settings, or was
	// rolled back.
	Restart *Restart               `json:"restart,omitempty"`
	Nodes   map[NodeName]NodeState `json:"nodes"`
	// NewerLeader says that a host has told this cke of a newer leader of its store,
	// a host that is silent or not looked at by now, too; empty while none has.
	NewerLeader string    `json:"newer_leader,omitempty"`
	Etcd        EtcdState `json:"etcd"`
	// Published is what Kubernetes was told.
	Published Published `json:"published,omitzero"`
	// Drains are the nodes under maintenance.
	Drains []Drain `json:"drains,omitempty"`
	// Reboot is which machines are to be rebooted.
	Reboot *Reboot `json:"reboot,omitempty"`
	// OwnBoot is the boot of the machine that cke runs on, which cke does not reboot.
	OwnBoot string `json:"own_boot,omitempty"`
	// Epoch is the leader's that looks.
	Epoch int64 `json:"epoch,omitempty"`
	// Setbacks are nodes whose last member was taken out because it did not serve.
	Setbacks Setbacks `json:"setbacks,omitempty"`
	// WithdrawnSince is since when a member's endpoint is wanted gone.
	WithdrawnSince map[MemberID]time.Time `json:"withdrawn_since,omitempty"`
	// Parting is the member that a step under way takes out or stops, if any does.
	Parting *Parting `json:"parting,omitempty"`
	// Heard is the last that is known of each node's data.
	Heard map[NodeName]Heard `json:"heard,omitempty"`
}

// Parting is a member that is on its way out.
type Parting struct {
	Member MemberID `json:"member"`
	// Stops: it is stopped, to be started again or taken out then, and ends the
	// connections of its clients itself.
	Stops bool `json:"stops,omitempty"`
}

// Pause holds all steps of one cluster back until a person resumes it.
type Pause struct {
	By  string    `json:"by"`
	Why string    `json:"why"`
	At  time.Time `json:"at"`
}

// Phase is how far a cluster's one and only bootstrap has come. It never goes
// back.
type Phase string

// The phases, in order.
const (
	PhaseNew           Phase = ""
	PhaseBootstrapping Phase = "bootstrapping"
	PhaseBootstrapped  Phase = "bootstrapped"
)

// Bootstrap is the record that makes a second bootstrap impossible. The token
// and founders are written before the first member starts, the cluster id
// after authentication is on.
type Bootstrap struct {
	Phase     Phase     `json:"phase"`
	Token     string    `json:"token,omitempty"`
	Founders  []Founder `json:"founders,omitempty"`
	ClusterID ClusterID `json:"cluster_id,omitzero"`
}

// Founder is one member of the initial cluster.
type Founder struct {
	Node   Node     `json:"node"`
	Member MemberID `json:"member"`
}

// NodeState is what a host's helper told about this cluster, or why it could not.
type NodeState struct {
	// Err is empty when the host answered. The other fields are only
	// meaningful then.
	Err string `json:"err,omitempty"`
	// Fenced is set when the host belongs to another CKE store or a newer leader.
	Fenced string `json:"fenced,omitempty"`
	// Deposed: a newer leader of this very store has acted on the host.
	Deposed bool `json:"deposed,omitempty"`
	// Trouble is why it did not answer, where that is known; Hint what to do.
	Trouble Trouble `json:"trouble,omitempty"`
	Hint    string  `json:"hint,omitempty"`
	// UnreachableSince is zero while the host answers.
	UnreachableSince time.Time `json:"unreachable_since,omitzero"`
	// Awaited: it has not answered yet, which says nothing of whether it is away.
	// Err says since when.
	Awaited bool `json:"awaited,omitempty"`
	// AnsweredAt is when this answer came, if it is one to an earlier question;
	// the host has not answered the present one yet. Zero for a fresh answer. Of a
	// host that did not answer it is when it last did, zero if nobody remembers.
	AnsweredAt time.Time `json:"answered_at,omitzero"`
	// AnswersSince is since when the host has answered whenever it was asked, as far
	// as this daemon remembers; zero while it does not.
	AnswersSince time.Time `json:"answers_since,omitzero"`
	// Arch is the machine's architecture in Go's words: amd64, arm64.
	Arch string `json:"arch,omitempty"`
	// Boot tells this boot of the machine from all others. CanReboot: its members are
	// run by systemd, which can reboot it.
	Boot      string `json:"boot,omitempty"`
	CanReboot bool   `json:"can_reboot,omitempty"`
	// Versions are the etcd versions installed, such as "3.7.3".
	Versions []string `json:"versions,omitempty"`
	// BusyPorts are member ports in use by something that is not this unit.
	BusyPorts []int `json:"busy_ports,omitempty"`
	// Foreign says, a sentence for each, what of an etcd that is not CKE's is on
	// the machine. It is looked for only where no unit is installed.
	Foreign []string `json:"foreign,omitempty"`
	// Unit is nil when no unit of this cluster is installed.
	Unit *UnitState `json:"unit,omitempty"`
	// TookPart is when its member, which does not answer cke, was last known to take part
	// in the quorum all the same, as its process said on the host; zero: it never was.
	TookPart time.Time `json:"took_part,omitzero"`
	// PartUnknown: whether it does is not known yet; its host is about to be asked.
	PartUnknown bool `json:"part_unknown,omitempty"`
	// RunsSince is since when its process has been seen to run, EndedAt when it was last
	// seen to have ended, as far as this daemon remembers; zero where it did not see that.
	RunsSince time.Time `json:"runs_since,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// EndedAnew: a process has ended that was begun after this daemon's first look.
	EndedAnew bool `json:"ended_anew,omitempty"`
	// EndsBefore is how many of its member's Ends were there when that had last served
	// for long, as far as this daemon remembers.
	EndsBefore int `json:"ends_before,omitempty"`
	// GrewAt is when its member's data was last seen to become larger than it had ever
	// been, as far as this daemon remembers; zero: it was not seen to.
	GrewAt time.Time `json:"grew_at,omitzero"`
	// Data are the data directories present, set-aside ones not included.
	Data []DataDir `json:"data,omitempty"`
	// Aside are the names of data directories of this cluster that were moved
	// aside: the host has carried a member before.
	Aside []string `json:"aside,omitempty"`
	// Certificates lists what is wrong with the member's files; empty is good.
	Certificates []string `json:"certificates,omitempty"`
	// CertificatesFail: with these files handshakes fail now; else there is time.
	CertificatesFail bool `json:"certificates_fail,omitempty"`
	// CertificatesBar: with these files, as when one is missing, etcd does not start.
	CertificatesBar bool `json:"certificates_bar,omitempty"`
	// Gateway is nil when the machine has none.
	Gateway *GatewayState `json:"gateway,omitempty"`
	// APIServer lists what is wrong with the API server's client files; empty is
	// good, and where the spec asks for none.
	APIServer []string `json:"apiserver,omitempty"`
	// APIServerFails: with these files no API server can use the cluster now.
	APIServerFails bool `json:"apiserver_fails,omitempty"`
	// Disk is where its members' data lies; no Mount when the host has not said.
	Disk Disk `json:"disk,omitzero"`
	// Measured is its last preflight; nil if there was none.
	Measured *Measured `json:"measured,omitempty"`
}

// Trouble names a reason why a host's helper cannot be asked that a person can
// do something about. It is never worth repeating at once.
type Trouble string

// The troubles there are; any other failure to reach a host has none.
const (
	HostKeyUnknown Trouble = "host-key-unknown"
	HostKeyChanged Trouble = "host-key-changed"
	LoginRefused   Trouble = "login-refused"
	HelperMissing  Trouble = "helper-missing"
	HelperVersion  Trouble = "helper-version" // it is of another version than cke
)

// Reachable says whether the host's helper answered.
func (n NodeState) Reachable() bool { return n.Err == "" }

// Dir returns the data directory of a member on this node.
func (n NodeState) Dir(id MemberID) (DataDir, bool) {
	for _, d := range n.Data {
		if d.Member == id {
			return d, true
		}
	}
	return DataDir{}, false
}

// UnitState is an installed unit and its process.
type UnitState struct {
	Unit    Unit `json:"unit"`
	Running bool `json:"running"`
	// Started is what the running process was started with; a difference to
	// Unit takes effect at the next start. Nil when not running.
	Started *Unit `json:"started,omitempty"`
	// Unfinished: another unit was being installed, and the machine may start its member
	// with that.
	Unfinished bool `json:"unfinished,omitempty"`
	// StaleCA: the running process read other certificate authorities at its start
	// than those that are installed now.
	StaleCA bool `json:"stale_ca,omitempty"`
	// Sealed: the member has been started once; from now on the host refuses
	// to start it without its own data.
	Sealed bool `json:"sealed"`
	// DataLost: sealed, and the directory no longer holds this member's WAL
	// and mark.
	DataLost bool `json:"data_lost,omitempty"`
	// NotMounted: the data root was a file system of its own when the member
	// was sealed and is not one now. Its disk is absent, not empty.
	NotMounted string `json:"not_mounted,omitempty"`
	// Applied is the last entry of the log that a member has applied which has just
	// joined, as its own process says on the host before it serves anybody; 0 when
	// that is not known.
	Applied uint64 `json:"applied,omitempty"`
	// Logged is the last entry that it knows to be agreed on and has on its disk,
	// applied or not.
	Logged uint64 `json:"logged,omitempty"`
	// Restarts is how often its process was started again with the settings it has: by
	// the machine since cke last did, or by cke where only that does.
	Restarts int `json:"restarts,omitempty"`
	// Exit describes how the last process ended, with the end of its log.
	Exit string `json:"exit,omitempty"`
	Log  string `json:"log,omitempty"`
	// Overridden is what somebody changed about how the machine runs the member,
	// such as a masked unit: it may keep the member from running.
	Overridden string `json:"overridden,omitempty"`
}

// Ended: a process of the member has ended, and none runs now.
func (u UnitState) Ended() bool {
	return !u.Running && (strings.HasPrefix(u.Exit, "exit status") || strings.HasPrefix(u.Exit, "signal") || u.Exit == "ended unseen")
}

// Ends is how many of its processes have ended since it was first started with the
// settings it has.
func (u UnitState) Ends() int {
	if u.Ended() {
		return u.Restarts + 1
	}
	return u.Restarts
}

// DataDir is one member's data directory on a host.
type DataDir struct {
	Member MemberID `json:"member"`
	WAL    bool     `json:"wal"`  // member/wal exists
	Mark   bool     `json:"mark"` // CKE's identity mark names this cluster and member
	Bytes  int64    `json:"bytes"`
}

// EtcdState is what the members themselves say.
type EtcdState struct {
	// Asked is false when no member could be asked, as before a bootstrap.
	Asked bool `json:"asked"`
	// Quorum: a linearizable read succeeded in this observation.
	Quorum bool `json:"quorum"`
	// QuorumSince is when there was a quorum again after more than a moment without;
	// zero where nobody saw that. Before, no member could have served.
	QuorumSince time.Time `json:"quorum_since,omitzero"`
	ClusterID   ClusterID `json:"cluster_id,omitzero"`
	// Members is the membership. Linearizable only when Quorum is set.
	Members []Member `json:"members"`
	Auth    Auth     `json:"auth"`
	// Alarms are those that are up, as a serving voter tells it.
	Alarms []Alarm `json:"alarms,omitempty"`
	// Compaction is nil unless an alarm NOSPACE is up.
	Compaction *Compaction `json:"compaction,omitempty"`
	// Usage is where the data is, largest first; it is looked at only when that
	// matters, and rarely.
	Usage []PrefixUsage `json:"usage,omitempty"`
	// Hashes are what the voters' data adds up to; looked at only when some member's
	// may be corrupt.
	Hashes []MemberHash `json:"hashes,omitempty"`
	// DifferedAt is when voters that served were last seen to hold different data; zero:
	// never, as far as this daemon remembers.
	DifferedAt time.Time `json:"differed_at,omitzero"`
	// Before is how far the log had come one election timeout ago; nil where nobody
	// looked.
	Before *Front `json:"before,omitempty"`
	// Mixed is set when members of different clusters answer, and names them.
	// There is no membership then.
	Mixed string `json:"mixed,omitempty"`
	// Downgrade is the version that etcd prepares to go down to, such as "3.6.0".
	Downgrade string `json:"downgrade,omitempty"`
	// Err is the last error met while asking.
	Err string `json:"err,omitempty"`
}

// Member is one entry of the membership with its own status.
type Member struct {
	ID      MemberID `json:"id"`
	Name    string   `json:"name"` // empty until it has started once
	PeerURL string   `json:"peer_url"`
	// ClientURL is empty until it has started once.
	ClientURL string `json:"client_url,omitempty"`
	Learner   bool   `json:"learner"`
	// Healthy: it answered its status, knows a leader, and served a
	// linearizable read (a learner: answered its status).
	Healthy        bool      `json:"healthy"`
	UnhealthySince time.Time `json:"unhealthy_since,omitzero"`
	// BehindSince is since when a learner has come no nearer to the end of the log, as
	// far as this daemon remembers; zero before it was heard.
	BehindSince time.Time `json:"behind_since,omitzero"`
	Leader      bool      `json:"leader"`
	Version     string    `json:"version,omitempty"`
	// Storage is the version of its data's format, which is the cluster's.
	Storage     string `json:"storage,omitempty"`
	RaftIndex   uint64 `json:"raft_index"`
	RaftApplied uint64 `json:"raft_applied"`
	RaftTerm    uint64 `json:"raft_term"`
	DBSize      int64  `json:"db_size"`
	DBSizeInUse int64  `json:"db_size_in_use"`
	// Quota is what the running process has; 0 when it was not learnt.
	Quota int64 `json:"quota,omitempty"`
	// Alarms are the kinds of those about this member.
	Alarms []string `json:"alarms,omitempty"`
	Err    string   `json:"err,omitempty"`
}

// Started says whether the member ever joined with a process of its own.
func (m Member) Started() bool { return m.Name != "" }

// Voters returns the voting members.
func (e EtcdState) Voters() []Member { return e.filter(func(m Member) bool { return !m.Learner }) }

// Learners returns the members that do not vote.
func (e EtcdState) Learners() []Member { return e.filter(func(m Member) bool { return m.Learner }) }

// HealthyVoters returns the voters that serve.
func (e EtcdState) HealthyVoters() []Member {
	return e.filter(func(m Member) bool { return !m.Learner && m.Healthy })
}

func (e EtcdState) filter(keep func(Member) bool) []Member {
	var out []Member
	for _, m := range e.Members {
		if keep(m) {
			out = append(out, m)
		}
	}
	return out
}

// Member returns the member with this id.
func (e EtcdState) Member(id MemberID) (Member, bool) {
	for _, m := range e.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// MemberAt returns the member that advertises this node's peer URL.
func (e EtcdState) MemberAt(n Node) (Member, bool) {
	for _, m := range e.Members {
		if m.PeerURL == n.PeerURL() {
			return m, true
		}
	}
	return Member{}, false
}

// Quorum is how many of n voters must agree: floor(n/2)+1 (raft, section 5.2).
func Quorum(n int) int { return n/2 + 1 }

// Tolerance is how many more voters may fail before quorum is lost; negative
// once it is.
func Tolerance(voters, healthy int) int { return healthy - Quorum(voters) }
