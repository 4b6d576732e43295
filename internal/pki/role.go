// Package pki is a cluster's certificate authority: three CAs, so that no
// certificate of one role is of any use in another. It issues exactly the names
// and usages that etcd needs, says why installed files must be reissued, and
// never lets a private key appear in a log or an error. It does no I/O and reads
// no clock.
package pki

// Role is what the certificates of one CA are for.
type Role string

// The roles of a cluster.
const (
	Server Role = "server"      // members, towards clients
	Peer   Role = "etcd-peer"   // members, towards each other
	Client Role = "etcd-client" // users of etcd; the common name is the user
)

// Roles lists every role.
func Roles() []Role { return []Role{Server, Peer, Client} }
