// Package store keeps CKE's own state: the wanted specs, who may use which
// prefix, the certificate authorities, how far each bootstrap came, and what
// was done. It promises:
//
//   - What was acknowledged survives kill -9 and a power cut.
//   - One daemon per data directory. A second one is refused and told whom it met.
//   - Of several daemons with one etcd elsewhere one leads, the others only read.
//   - Every change is one transaction that also checks that this daemon is still
//     the newest one to have opened the store, so a deposed daemon changes nothing.
//   - Two people who edit the same thing at the same time: one of them is told.
//   - A bootstrap is recorded once and never taken back.
//   - Keys of certificate authorities are sealed before they reach the disk.
//   - A damaged store is an error that names the file; it never ends the process.
//
// The state lies in an etcd that runs inside this process, or in one elsewhere. The reasons for its
// settings are in DESIGN.md.
package store
