package cluster

import "time"

// RemovedUser is a tenant that was removed and that etcd may still know: until it
// does not, CKE takes its user and role away.
type RemovedUser struct {
	User
	// At tells one removal from a later one of a user of the same name.
	At time.Time `json:"at"`
}
