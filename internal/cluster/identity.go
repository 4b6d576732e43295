package cluster

import (
	"crypto/sha1" //nolint:gosec // etcd's own member-id hash, not a security property
	"encoding/binary"
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"strings"
)

// MemberID is etcd's 64-bit member id, printed as etcdctl prints it: hex
// without leading zeros. It doubles as the member's incarnation: the name of
// its data directory, so that a new member never finds an old one's data.
type MemberID uint64

// ClusterID is etcd's 64-bit cluster id.
type ClusterID uint64

func (id MemberID) String() string  { return strconv.FormatUint(uint64(id), 16) }
func (id ClusterID) String() string { return strconv.FormatUint(uint64(id), 16) }

// ParseMemberID reads the form String writes.
func ParseMemberID(s string) (MemberID, error) {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil || strconv.FormatUint(v, 16) != s {
		return 0, fmt.Errorf("member id %q is not lower-case hex without leading zeros", s)
	}
	return MemberID(v), nil
}

// MarshalText writes hex: JSON numbers lose bits above 2^53.
func (id MemberID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *MemberID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseMemberID(string(b))
	return err
}

// MarshalText writes hex: JSON numbers lose bits above 2^53.
func (id ClusterID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ClusterID) UnmarshalText(b []byte) error {
	m, err := ParseMemberID(string(b))
	*id = ClusterID(m)
	return err
}

// PeerURL is the one URL a member on this node advertises to its peers.
func (n Node) PeerURL() string { return URL(n.Address, PeerPort) }

// ClientURL is the one URL a member on this node advertises to clients.
func (n Node) ClientURL() string { return URL(n.Address, ClientPort) }

// URL joins an address and a port with https, bracketing IPv6.
func URL(a netip.Addr, port uint16) string {
	return "https://" + netip.AddrPortFrom(a, port).String()
}

// BootstrapMemberID is the id etcd itself derives for a founding member: the
// first 8 bytes of SHA-1 over its sorted peer URLs followed by the
// initial-cluster token (etcd server/etcdserver/api/membership/member.go).
func BootstrapMemberID(token string, peerURLs ...string) MemberID {
	urls := append([]string(nil), peerURLs...)
	sort.Strings(urls)
	h := sha1.Sum([]byte(strings.Join(urls, "") + token)) //nolint:gosec // see import
	return MemberID(binary.BigEndian.Uint64(h[:8]))
}
