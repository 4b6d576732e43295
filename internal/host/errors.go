package host

import (
	"errors"
	"time"

	"cke/internal/cluster"
)

// FencedError says that a machine does not obey this caller.
type FencedError struct {
	// Reason is one sentence for people.
	Reason string `json:"reason"`
	// OtherStore: it belongs to another CKE store; `ckecli node claim` changes
	// that. Otherwise a newer leader exists and this one must stop acting.
	OtherStore bool `json:"other_store,omitempty"`
}

func (e *FencedError) Error() string { return e.Reason }

// GuardKind names why a machine's own guard refuses.
type GuardKind string

// Why a guard refuses.
const (
	// DataLost: the member is sealed, its WAL or its mark is gone.
	DataLost GuardKind = "data-lost"
	// NotMounted: the data root was a mount of its own and is not one now.
	NotMounted GuardKind = "not-mounted"
	// ForeignData: the member's directory holds what CKE did not put there.
	ForeignData GuardKind = "foreign-data"
	// FoundedBefore: the unit founds a new cluster, and the machine carried a
	// member of this cluster before.
	FoundedBefore GuardKind = "founded-before"
	// NotFounding: the member was never started and its unit does not say how.
	NotFounding GuardKind = "not-founding"
	// OtherMember: another member's unit is installed, or its data is in place.
	OtherMember GuardKind = "other-member"
	// NoUnit: no unit is installed.
	NoUnit GuardKind = "no-unit"
	// NoVersion: the unit's etcd version is not installed.
	NoVersion GuardKind = "no-version"
	// StillRunning: the member's process runs.
	StillRunning GuardKind = "still-running"
	// ForeignEtcd: the machine has an etcd that is not CKE's.
	ForeignEtcd GuardKind = "foreign-etcd"
	// Overridden: somebody took the unit out of CKE's hands, as by masking it.
	Overridden GuardKind = "overridden"
	// InUse: a unit or data of the cluster is on the machine.
	InUse GuardKind = "in-use"
	// NoSpace: a file system has no room.
	NoSpace GuardKind = "no-space"
	// ReadOnly: a place cannot be written to.
	ReadOnly GuardKind = "read-only"
	// NotRoots: a directory above the members' belongs to another user than root
	// or may be written to by one, who could so redirect what root does below it.
	NotRoots GuardKind = "not-roots"
	// DiskFails: a disk answers with errors.
	DiskFails GuardKind = "disk-fails"
	// OtherArch: a binary is for another architecture than the machine's.
	OtherArch GuardKind = "other-arch"
	// NoGateway: the machine cannot have one, for it is not CKE's alone or has no
	// systemd.
	NoGateway GuardKind = "no-gateway"
	// NoReboot: the machine is not run by systemd, or runs another boot by now.
	NoReboot GuardKind = "no-reboot"
	// PortInUse: another program listens where the gateway is to.
	PortInUse GuardKind = "port-in-use"
	// NotAllowed: the machine does not allow client certificates in a directory.
	NotAllowed GuardKind = "not-allowed"
	// ForeignFile: what lies in a file's place is none that may be replaced.
	ForeignFile GuardKind = "foreign-file"
	// NoAccount: the machine has no such user or group.
	NoAccount GuardKind = "no-account"
)

// GuardError is a refusal by a machine's own guard: trying again changes
// nothing until the machine's state does.
type GuardError struct {
	Kind GuardKind `json:"kind"`
	// Reason is one sentence for people.
	Reason string `json:"reason"`
}

func (e *GuardError) Error() string { return e.Reason }

// InvalidError says that a request is malformed; it is never worth repeating.
type InvalidError struct {
	Reason string `json:"reason"`
}

func (e *InvalidError) Error() string { return e.Reason }

// RemoteError is any other error the machine answers.
type RemoteError struct {
	Message string `json:"message"`
}

func (e *RemoteError) Error() string { return e.Message }

// TroubleError says why a machine's helper cannot be asked, where a person can
// do something about it: trying again changes nothing until then.
type TroubleError struct {
	Trouble cluster.Trouble
	// Message is one sentence for people, and names the machine.
	Message string
	// Hint is what to do.
	Hint string
}

func (e *TroubleError) Error() string { return e.Message }

// UnreachableError says that the machine was not reached, and nothing was sent.
type UnreachableError struct {
	Err error
	// Next is when reaching it is tried again; calls before fail at once.
	Next time.Time
}

func (e *UnreachableError) Error() string {
	return saying(e.Err.Error()) + "; the next try is at " + e.Next.UTC().Format(time.TimeOnly)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Hint is what to do.
func (e *UnreachableError) Hint() string {
	return "look at the host, its network and its sshd; address and port are those in cluster.yml"
}

// ErrTooLate says that the caller leads no more, so that nothing was sent.
var ErrTooLate = errors.New("this cke does not lead any more")

// ErrSessionEnded says that the byte stream to the machine is closed: a new
// session is needed. The error that wraps it says what the machine last said.
var ErrSessionEnded = errors.New("session ended")

// Failure is an error on the wire; exactly one field is set.
type Failure struct {
	Fenced  *FencedError  `json:"fenced,omitempty"`
	Guard   *GuardError   `json:"guard,omitempty"`
	Invalid *InvalidError `json:"invalid,omitempty"`
	Other   *RemoteError  `json:"other,omitempty"`
}

// IsTyped says whether an error has a type of its own on the wire.
func IsTyped(err error) bool { return NewFailure(err).Other == nil }

// NewFailure puts an error on the wire: the innermost typed one, else its text.
func NewFailure(err error) Failure {
	var f Failure
	if errors.As(err, &f.Fenced) || errors.As(err, &f.Guard) || errors.As(err, &f.Invalid) {
		return f
	}
	return Failure{Other: &RemoteError{Message: err.Error()}}
}

// Err is the typed error again, its text as it may be kept and shown.
func (f Failure) Err() error {
	switch {
	case f.Fenced != nil:
		return &FencedError{Reason: saying(f.Fenced.Reason), OtherStore: f.Fenced.OtherStore}
	case f.Guard != nil:
		return &GuardError{Kind: f.Guard.Kind, Reason: saying(f.Guard.Reason)}
	case f.Invalid != nil:
		return &InvalidError{Reason: saying(f.Invalid.Reason)}
	case f.Other != nil:
		return &RemoteError{Message: saying(f.Other.Message)}
	}
	return &RemoteError{Message: "the machine answers an empty error"}
}
