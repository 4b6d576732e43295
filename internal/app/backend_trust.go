package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/host/remote"
	"cke/internal/store"
)

// Trust records the host key a node's machine shows. Without a fingerprint only
// the first one is taken, and one that takes another's place only if it is the
// one a person named.
func (b backend) Trust(ctx context.Context, name, address, fingerprint string) (api.TrustedKey, error) {
	began := time.Now()
	n, err := b.node(ctx, name, address)
	if err != nil {
		return api.TrustedKey{}, err
	}
	switch {
	case n.User == "":
		return api.TrustedKey{}, api.Refused(fmt.Sprintf("node %s is on this machine and is not reached over SSH: it has no host key to trust", n.Hostname), "")
	case n.HostKey != "":
		return api.TrustedKey{}, api.Refused(fmt.Sprintf("host_key in cluster.yml says which key node %s has", n.Hostname), "correct it there; nothing was changed")
	case fingerprint != "" && !cluster.IsFingerprint(fingerprint):
		return api.TrustedKey{}, api.Invalid(fmt.Sprintf("%.80q is not a fingerprint", fingerprint), "it looks like SHA256:… and 43 characters more, as ssh-keygen -l prints it")
	}
	shown, err := b.hosts.remote.Shown(ctx, n, fingerprint)
	if err != nil {
		return api.TrustedKey{}, err
	}
	answer := api.TrustedKey{Node: n.Hostname, Address: remote.Address(n), Type: shown.Type, Fingerprint: shown.Fingerprint}
	if fingerprint != "" && shown.Fingerprint != fingerprint {
		return answer, api.Refused(fmt.Sprintf("%s shows %s %s, not %s", answer.Address, shown.Type, shown.Fingerprint, fingerprint),
			"compare it on the machine itself with ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; nothing was changed")
	}
	was, err := b.store.HostKey(ctx, answer.Address)
	if err != nil {
		return answer, err
	}
	if err := b.mayTrust(ctx, n, shown, was, fingerprint); err != nil {
		return answer, err
	}
	if was == nil || was.Key != shown.Line {
		err = b.store.TrustHostKey(ctx, answer.Address, was, store.HostKey{Key: shown.Line, By: api.Caller(ctx), At: began.UTC()})
		action := fmt.Sprintf("trust %s of %s", shown.Type+" "+shown.Fingerprint, n.Hostname)
		if err := b.note(ctx, name, action, "", err, began); errors.Is(err, store.ErrConflict) {
			return answer, api.Refused("another key of this host was trusted by someone else meanwhile", "look at ckecli history")
		} else if err != nil {
			return answer, err
		}
	}
	b.hosts.remote.Retry(n)
	if c, err := b.careFor(ctx, name); err == nil {
		c.loop.Wake()
	}
	return answer, nil
}

// mayTrust refuses a key that differs from the one on record, unless it was
// named.
func (b backend) mayTrust(ctx context.Context, n cluster.Node, shown remote.HostKey, was *store.HostKey, fingerprint string) error {
	if fingerprint != "" || was != nil && was.Key == shown.Line {
		return nil
	}
	have, from, err := b.hosts.remote.Recorded(ctx, n)
	if err != nil || have == "" || have == shown.Type+" "+shown.Fingerprint {
		return err
	}
	return api.Refused(fmt.Sprintf("%s shows %s %s, but by %s its key is %s: somebody may be in between",
		remote.Address(n), shown.Type, shown.Fingerprint, from, have),
		fmt.Sprintf("only if it is the one on the machine itself: ckecli node trust %s --fingerprint %s", n.Address, shown.Fingerprint))
}
