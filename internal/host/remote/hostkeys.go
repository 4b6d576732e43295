package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"cke/internal/cluster"
	"cke/internal/host"
)

// keyTypes are the kinds of host keys, best first, each with the algorithms
// that sign with it.
func keyTypes() []keyType {
	return []keyType{
		{"ED25519", []string{ssh.KeyAlgoED25519}},
		{"ECDSA", []string{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521}},
		{"RSA", []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}},
	}
}

type keyType struct {
	name       string
	algorithms []string
}

// typeOf is the kind of a key of this type.
func typeOf(key ssh.PublicKey) keyType {
	for _, t := range keyTypes() {
		if slices.Contains(t.algorithms, key.Type()) || t.name == "RSA" && key.Type() == ssh.KeyAlgoRSA {
			return t
		}
	}
	return keyType{key.Type(), []string{key.Type()}}
}

func allAlgorithms() []string {
	var all []string
	for _, t := range keyTypes() {
		all = append(all, t.algorithms...)
	}
	return all
}

// known is which key a machine must show, by the first that says so: host_key
// in cluster.yml, a person's trust, a known_hosts file.
type known struct {
	to access
	// from is who says so, for people; empty when nobody does.
	from string
	// fingerprint is set when all that is known of the key is this.
	fingerprint string
	key         ssh.PublicKey
	file        *knownhosts.HostKeyDB
	path        string
}

func (l *link) known(ctx context.Context) (known, error) {
	k := known{to: l.to, path: l.o.KnownHosts}
	if k.path != "" {
		db, err := knownhosts.NewDB(k.path)
		if err != nil {
			return k, fmt.Errorf("read known_hosts: %w", err)
		}
		k.file = db
	}
	if pin := l.to.hostKey; pin != "" {
		k.from = "host_key in cluster.yml"
		if strings.HasPrefix(pin, "SHA256:") {
			k.fingerprint = pin
			return k, nil
		}
		var err error
		k.key, err = parseKey(pin)
		return k, err
	}
	if l.o.Trusted == nil {
		return k, nil
	}
	line, err := l.o.Trusted(ctx, l.to.address.String())
	if err != nil || line == "" {
		return k, err
	}
	k.from = "ckecli node trust"
	k.key, err = parseKey(line)
	return k, err
}

func parseKey(line string) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, fmt.Errorf("read the host key %.80q: %w", line, err)
	}
	return key, nil
}

// algorithms are what the machine is asked to sign with: a machine with keys of
// several types must show the one that is known.
func (k known) algorithms() []string {
	switch {
	case k.key != nil && k.key.Type() == ssh.KeyAlgoRSA:
		return typeOf(k.key).algorithms
	case k.key != nil:
		return []string{k.key.Type()}
	case k.fingerprint != "" || k.file == nil:
		return allAlgorithms()
	}
	var named []string
	for _, a := range k.file.HostKeyAlgorithms(k.to.address.String()) {
		if a != ssh.KeyAlgoRSA && a != ssh.CertAlgoRSAv01 { // SHA-1
			named = append(named, a)
		}
	}
	if len(named) == 0 {
		return allAlgorithms()
	}
	return named
}

// check is asked about the key the machine shows. Its error is a *host.TroubleError.
func (k known) check(remote net.Addr, shown ssh.PublicKey) error {
	var listed error
	if k.file != nil {
		listed = k.file.HostKeyCallback()(k.to.address.String(), remote, shown)
		var revoked *xknownhosts.RevokedError
		if errors.As(listed, &revoked) {
			return k.changed(shown, "one that "+k.path+" revokes", "")
		}
	}
	switch {
	case k.key != nil:
		if string(k.key.Marshal()) != string(shown.Marshal()) {
			return k.changed(shown, "", describe(k.key))
		}
		return nil
	case k.fingerprint != "":
		if ssh.FingerprintSHA256(shown) != k.fingerprint {
			return k.changed(shown, "", k.fingerprint)
		}
		return nil
	case k.file == nil || knownhosts.IsHostUnknown(listed):
		return k.unknown(shown)
	case listed == nil:
		return nil
	}
	var wrong *xknownhosts.KeyError
	if errors.As(listed, &wrong) && len(wrong.Want) > 0 {
		k.from = fmt.Sprintf("line %d of %s", wrong.Want[0].Line, k.path)
		return k.changed(shown, "", describe(wrong.Want[0].Key))
	}
	return k.changed(shown, "one that "+k.path+" does not allow", "")
}

func describe(key ssh.PublicKey) string {
	return typeOf(key).name + " " + ssh.FingerprintSHA256(key)
}

func (k known) unknown(shown ssh.PublicKey) error {
	return &host.TroubleError{
		Trouble: cluster.HostKeyUnknown,
		Message: fmt.Sprintf("the host key of %s is not known; it shows %s", k.to.address, describe(shown)),
		Hint: fmt.Sprintf("compare it on the machine itself, then trust it:\n  ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub\n  ckecli node trust %s --fingerprint %s",
			strings.ToLower(typeOf(shown).name), k.to.address.Addr(), ssh.FingerprintSHA256(shown)),
	}
}

// changed is loud: it is a machine set up anew, or somebody in between.
func (k known) changed(shown ssh.PublicKey, because, want string) error {
	if because == "" {
		because = fmt.Sprintf("not %s, which is the one that %s gives", want, k.from)
	}
	hint := fmt.Sprintf("only if you know why it changed, and it is the same on the machine itself:\n  ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub\n",
		strings.ToLower(typeOf(shown).name))
	switch {
	case k.to.hostKey != "":
		hint += "then correct host_key in cluster.yml"
	default:
		hint += fmt.Sprintf("  ckecli node trust %s --fingerprint %s", k.to.address.Addr(), ssh.FingerprintSHA256(shown))
	}
	return &host.TroubleError{
		Trouble: cluster.HostKeyChanged,
		Message: fmt.Sprintf("THE HOST KEY OF %s HAS CHANGED: it shows %s, %s. Somebody may be in between; nothing is sent to it", k.to.address, describe(shown), because),
		Hint:    hint,
	}
}

// HostKey is a machine's public key.
type HostKey struct {
	Type        string // ED25519, ECDSA or RSA
	Fingerprint string // SHA256:… as ssh-keygen -l prints it
	Line        string // as in a public key file
}

func hostKey(key ssh.PublicKey) HostKey {
	return HostKey{
		Type: typeOf(key).name, Fingerprint: ssh.FingerprintSHA256(key),
		Line: key.Type() + " " + base64.StdEncoding.EncodeToString(key.Marshal()),
	}
}

// Shown asks a node's machine for its host keys, without logging in: with a
// fingerprint for the one that has it, or else for the best it has.
func (h *Hosts) Shown(ctx context.Context, n cluster.Node, fingerprint string) (HostKey, error) {
	l := newLink(h.o, h.helpers, accessOf(n))
	defer l.cancel()
	first, err := l.shown(ctx, allAlgorithms())
	if err != nil {
		return HostKey{}, err
	}
	if fingerprint == "" || ssh.FingerprintSHA256(first) == fingerprint {
		return hostKey(first), nil
	}
	for _, t := range keyTypes() {
		if t.name == typeOf(first).name {
			continue
		}
		// A machine without a key of this type answers an error.
		if key, err := l.shown(ctx, t.algorithms); err == nil && ssh.FingerprintSHA256(key) == fingerprint {
			return hostKey(key), nil
		}
	}
	return hostKey(first), nil
}

// Recorded is the key a node's machine has to show, in words, and where that is
// written; empty when nothing is.
func (h *Hosts) Recorded(ctx context.Context, n cluster.Node) (key, from string, err error) {
	l := newLink(h.o, h.helpers, accessOf(n))
	defer l.cancel()
	k, err := l.known(ctx)
	switch {
	case err != nil:
		return "", "", err
	case k.key != nil:
		return describe(k.key), k.from, nil
	case k.fingerprint != "":
		return k.fingerprint, k.from, nil
	case k.file == nil:
		return "", "", nil
	}
	for _, key := range k.file.HostKeys(k.to.address.String()) {
		return describe(key), k.path, nil
	}
	return "", "", nil
}
