package app

import (
	"context"
	"time"

	"cke/internal/api"
	"cke/internal/reconcile"
)

// quorumPatience is how long a request waits for a quorum that the last look did not find:
// between two leaders, or on a machine that stands still, there is none for a moment.
const quorumPatience = 5 * time.Second

// looks are a loop's, as who waits for one of them needs it.
type looks interface {
	View() (reconcile.View, <-chan struct{})
	Wake()
}

// quorate returns the newest view, if etcd can take a change.
func quorate(ctx context.Context, l looks) (reconcile.View, error) {
	v, err := firstView(ctx, l)
	if err != nil || v.State.Etcd.Quorum {
		return v, err
	}
	waited, cancel := context.WithTimeout(ctx, quorumPatience)
	defer cancel()
	l.Wake()
	err = awaitView(waited, l, func(now reconcile.View) bool {
		v = now
		return now.State.Etcd.Quorum
	})
	if err != nil {
		err = api.Refused("etcd has no quorum now: "+v.State.Etcd.Err, "nothing was changed; ckecli status tells what is wrong")
	}
	return v, err
}
