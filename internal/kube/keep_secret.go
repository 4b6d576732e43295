package kube

import (
	"context"
	"time"

	"cke/internal/cluster"
)

const (
	// A certificate is looked at sixty times in its life, within these bounds.
	looksPerLife = 60
	shortestLook = time.Second
	longestLook  = time.Minute
)

// decideSecret is the move for a bundle's Secret, with the certificate in it.
func (k *keeper) decideSecret(ctx context.Context, v view, now time.Time) (move, []fault, time.Duration) {
	b, ok := v.bundleOf(k.key)
	if !ok {
		return move{}, nil, never
	}
	live := v.live[k.key]
	foreign, is := v.secretFault(k.key)
	switch {
	case b.Removing && live != nil && !is:
		return move{do: remove, what: subjectOf(k.key) + " deleted"}, nil, never
	case b.Removing:
		return k.forget(ctx, b, now)
	case is:
		return move{}, []fault{foreign}, never
	}
	k.forgotten = time.Time{}
	look := min(max(b.TTL.Std()/looksPerLife, shortestLook), longestLook)
	c, fresh := installed(live), false
	if len(stale(c, b, k.p.o.Authority, now)) > 0 {
		var err error
		if c, err = k.issue(b, now); err != nil {
			return move{}, []fault{{ruleNotIssued, "issue certificate of " + b.User + ": " + err.Error(), ""}}, look
		}
		fresh = true
	} else {
		k.fresh = credential{}
	}
	body, err := v.secretBody(b, c, live)
	if err != nil {
		return move{}, []fault{{ruleApplyRefused, "encode " + k.key.String(), ""}}, look
	}
	if carries(live, body) {
		return move{}, nil, look
	}
	return move{do: apply, body: body, what: secretLine(k.key, live, fresh)}, nil, look
}

// issue makes a certificate, or gives the one that could not be brought into the
// Secret before.
func (k *keeper) issue(b cluster.Bundle, now time.Time) (credential, error) {
	if len(stale(k.fresh, b, k.p.o.Authority, now)) == 0 {
		return k.fresh, nil
	}
	cert, key, err := k.p.o.Authority.IssueBundle(b.User, b.TTL, now)
	if err != nil {
		return credential{}, err
	}
	k.fresh = credential{b.User, b.TTL.String(), cert, key}
	return k.fresh, nil
}

// forget says that a bundle's Secret is gone, until that is heard. It says so again
// after a while: the bundle may have been added and removed once more in between.
func (k *keeper) forget(ctx context.Context, b cluster.Bundle, now time.Time) (move, []fault, time.Duration) {
	if left := k.forgotten.Add(longestLook).Sub(now); left > 0 {
		return move{}, nil, left
	}
	if wait := k.tries.wait(now); wait > 0 {
		return move{}, k.notForgotten, wait
	}
	if err := k.p.o.Forget(ctx, b); err != nil {
		k.tries.failed(now)
		k.notForgotten = []fault{{ruleNotForgotten, "forget bundle " + b.Key() + ": " + err.Error(), ""}}
		return move{}, k.notForgotten, k.tries.wait(now)
	}
	k.tries.worked()
	k.forgotten, k.notForgotten = now, nil
	return move{}, nil, longestLook
}

// homeless says whether the Secret's namespace is gone. What let CKE in there is
// gone with it then, so that nothing else would say so.
func (k *keeper) homeless(ctx context.Context, s *session) bool {
	return k.key.kind == secretKind() && s.gone(ctx, k.key.namespace)
}

// forgetHomeless: a Secret whose namespace is gone is gone too, and its bundle need
// not wait for it any more.
func (k *keeper) forgetHomeless(ctx context.Context) []fault {
	b, ok := k.p.view(k.key).bundleOf(k.key)
	if !ok || !b.Removing {
		return nil
	}
	_, faults, _ := k.forget(ctx, b, k.now())
	return faults
}
