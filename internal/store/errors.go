package store

import (
	"errors"
	"fmt"

	"cke/internal/cluster"
)

var (
	// ErrNotFound: there is no such cluster, authority or record.
	ErrNotFound = errors.New("not found")
	// ErrExists: it was created before and is not replaced.
	ErrExists = errors.New("exists already")
	// ErrConflict: someone else changed it first.
	ErrConflict = errors.New("changed by someone else in between")
	// ErrDeposed: another daemon opened this store later; this one may change
	// nothing any more.
	ErrDeposed = errors.New("another cke has taken over this store")
	// ErrNotLeader: this daemon does not lead, or not any more.
	ErrNotLeader = errors.New("this cke is not the leader")
	// ErrNoLeader: no daemon leads at this moment.
	ErrNoLeader = errors.New("no cke leads at this moment")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
)

const restoreHint = "keep the directory for inspection, move it away and start from the last state backup: " +
	"cke --restore-state FILE (FILE was made by ckecli state backup)"

// LockedError: another process has this data directory open.
type LockedError struct {
	Dir string
	PID int // 0 when the other process has not said yet
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("data directory %s is in use by another cke", e.Dir)
	}
	return fmt.Sprintf("data directory %s is in use by the cke with pid %d", e.Dir, e.PID)
}

// Hint says what to do.
func (e *LockedError) Hint() string {
	return "stop that one first, or give this one a data directory of its own"
}

// CorruptError: the store's files are damaged. Nothing was changed.
type CorruptError struct {
	Path string
	Err  error
}

func (e *CorruptError) Error() string { return fmt.Sprintf("store %s is damaged: %v", e.Path, e.Err) }
func (e *CorruptError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *CorruptError) Hint() string { return restoreHint }

// StartError: the files look sound, yet etcd does not start on them.
type StartError struct {
	Dir string
	Err error
}

func (e *StartError) Error() string { return fmt.Sprintf("start store %s: %v", e.Dir, e.Err) }
func (e *StartError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *StartError) Hint() string {
	return "check space and permissions of the directory; if it is damaged, " + restoreHint
}

// SchemaError: the store or backup was written by a newer cke.
type SchemaError struct {
	What       string // the directory or "backup"
	Have, Know int
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("%s has schema version %d, this cke knows versions up to %d", e.What, e.Have, e.Know)
}

// Hint says what to do.
func (e *SchemaError) Hint() string { return "start the cke that wrote it, or a newer one" }

// SealKeyError: the store's secrets were sealed with another key.
type SealKeyError struct {
	What       string // the directory or "backup"
	Want, Have string // key ids, not secret
	// Shared: the store is an etcd elsewhere, where another installation's may be.
	Shared bool
}

func (e *SealKeyError) Error() string {
	return fmt.Sprintf("%s is sealed with key %s, the key given is %s", e.What, e.Want, e.Have)
}

// Hint says what to do.
func (e *SealKeyError) Hint() string {
	hint := "point cke at the seal key file whose id is " + e.Want
	if e.Shared {
		hint += "; or, if the store is that of another installation, choose another store.prefix, which no cke has yet"
	}
	return hint
}

// UserExistsError: the name is taken, with another prefix.
type UserExistsError struct{ Have cluster.User }

func (e *UserExistsError) Error() string {
	if e.Have.Name == cluster.RootUser {
		return "user root exists already and has every key"
	}
	return fmt.Sprintf("user %q exists already with prefix %q", e.Have.Name, e.Have.Prefix)
}

// UnknownUserError: there is no such tenant.
type UnknownUserError struct{ User string }

func (e *UnknownUserError) Error() string { return fmt.Sprintf("there is no user %q", e.User) }

// BundleExistsError: the Secret is somebody else's, or lives for another time.
type BundleExistsError struct{ Have cluster.Bundle }

func (e *BundleExistsError) Error() string {
	return fmt.Sprintf("bundle %s exists already, of user %q with ttl %s", e.Have.Key(), e.Have.User, e.Have.TTL)
}

// UnknownBundleError: there is no such bundle.
type UnknownBundleError struct{ Key string }

func (e *UnknownBundleError) Error() string { return fmt.Sprintf("there is no bundle %s", e.Key) }

// OverlapError: one prefix contains the other.
type OverlapError struct {
	User, Other cluster.User
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("prefix %q of user %q overlaps prefix %q of user %q",
		e.User.Prefix, e.User.Name, e.Other.Prefix, e.Other.Name)
}

// AddressError: a hostname would move to another address while its member at
// the old one is still CKE's to look after.
type AddressError struct {
	Node       cluster.NodeName
	Have, Want string
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("node %s has a member at %s and cannot move to %s", e.Node, e.Have, e.Want)
}

// Hint says what to do.
func (e *AddressError) Hint() string {
	return "give the machine at " + e.Want + " a hostname of its own; the old node leaves by itself"
}
