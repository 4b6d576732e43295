package cluster

import (
	"encoding/base64"
	"encoding/binary"
	"regexp"
)

// The forms of a host key: a fingerprint as ssh-keygen -l prints it, and a line
// of a public key file.
var (
	fingerprintForm = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)
	publicKeyForm   = regexp.MustCompile(`^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]+={0,2})(?: [[:print:]]*)?$`)
)

// IsFingerprint says whether this is the SHA-256 fingerprint of a host key.
func IsFingerprint(s string) bool { return fingerprintForm.MatchString(s) }

// validateAccess looks at how a node is reached: on this machine, or as a user
// over SSH.
func (n Node) validateAccess(ps *problems, at string) {
	if n.User == "" {
		if n.Port != 0 {
			ps.add(at+".port", "port is of no use without user: it is where sshd listens")
		}
		if n.HostKey != "" {
			ps.add(at+".host_key", "host_key is of no use without user: it is sshd's")
		}
		return
	}
	if !unixName.MatchString(n.User) {
		ps.add(at+".user", "user %.80q is not the name of a unix user", n.User)
	}
	if n.HostKey != "" && !IsFingerprint(n.HostKey) && !isPublicKey(n.HostKey) {
		ps.add(at+".host_key", "host_key %.80q is neither a fingerprint such as SHA256:… nor a public key such as ssh-ed25519 AAAA…", n.HostKey)
	}
}

// isPublicKey says whether a line names the type that its key is of (RFC 4253,
// section 6.6: the type comes first, as a string).
func isPublicKey(line string) bool {
	m := publicKeyForm.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(m[2])
	if err != nil || len(key) < 4 {
		return false
	}
	n := binary.BigEndian.Uint32(key)
	return int64(n) <= int64(len(key)-4) && string(key[4:4+n]) == m[1]
}
