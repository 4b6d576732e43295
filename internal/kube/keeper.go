package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// shortWatch: a watch that ends sooner is a failure, or the server would be
	// asked without a pause.
	shortWatch = time.Second
	// conflictsPass is the attempt at which a change in between is one no more.
	conflictsPass = 3
	never         = time.Duration(1<<63 - 1)
)

// keeper keeps one object as it is wanted: it lists it once, watches it, and
// applies where live and wanted differ. One goroutine at a time runs it; what it
// remembers outlives a session.
type keeper struct {
	p    *Publisher
	key  key
	wake chan struct{} // something that its decision rests on has changed

	seen  uint64 // the version of the export that was looked at last
	floor string // what was known last; older news is none
	// from is where a session ended in good order, and server what it was with.
	from, server string
	link         retry // of list and watch
	tries        retry // of changes
	fight        fight
	done         string // the mark of the change that was last made

	linkFault, tryFault *fault
	taken               *fault // somebody else owned what CKE wrote
	takenUntil          time.Time
	refused             string // the rule that was recorded as a failure

	fresh        credential // issued, and not yet seen in the Secret
	forgotten    time.Time  // when that the Secret is gone was heard
	notForgotten []fault
}

func newKeeper(p *Publisher, k key) *keeper {
	var r retry
	if k.kind != secretKind() {
		r.eager = eagerTimes
	}
	return &keeper{p: p, key: k, wake: make(chan struct{}, 1), link: r, tries: r}
}

func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run works until its context ends.
func (k *keeper) run(ctx context.Context, s *session) {
	for ctx.Err() == nil {
		c, err := k.follow(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !expired(err) {
			f := faultOf(c, err)
			var faults []fault
			if f.rule == rulePermissionMissing && k.homeless(ctx, s) {
				f, faults = noNamespace(c), k.forgetHomeless(ctx)
			}
			k.linkFault = &f
			k.p.o.Log.Debug("kubernetes is not heard", "object", k.key.String(), "rule", f.rule)
			k.doubt(s, f)
			k.report(faults)
		}
		k.link.failed(k.now())
		k.pause(ctx, k.link.wait(k.now()))
	}
}

// expired: what a watch would go on from is forgotten by the API server, so that
// the object must be listed again. That is no fault.
func expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

func (k *keeper) now() time.Time { return k.p.o.Now() }

// doubt asks for a look at the kubeconfig where that may be the reason. A
// permission that is missing is one object's: the others go on with this login.
func (k *keeper) doubt(s *session, f fault) {
	switch f.rule {
	case ruleCredentialsRefused, ruleNotTrusted:
		s.question()
	}
}

// pause waits before the object is listed again. A change of what is wanted cuts
// it short.
func (k *keeper) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-k.wake:
			if v := k.p.view(k.key); v.version != k.seen {
				k.seen = v.version
				k.link.hurry()
				k.tries.hurry()
				return
			}
		}
	}
}

// follow lists and watches the object, and cares for it, until something fails.
func (k *keeper) follow(ctx context.Context, s *session) (call, error) {
	from, err := k.begin(ctx, s)
	if err != nil {
		return call{"list", k.key}, err
	}
	for {
		// An API server may take its time to open a watch. What is known is enough to act.
		k.care(ctx, s)
		w, err := s.watch(ctx, k.key, from)
		if err == nil {
			opened := k.now()
			k.linkFault = nil
			from, err = k.tend(ctx, s, w, from)
			w.Stop()
			if lived := k.now().Sub(opened); err == nil && lived < shortWatch {
				err = errors.New("the watch ends at once")
			} else if lived >= shortWatch {
				k.link.worked()
			}
		}
		if ctx.Err() != nil {
			k.from, k.server = from, s.server
			return call{}, ctx.Err()
		}
		if err != nil {
			return call{"watch", k.key}, err
		}
	}
}

// begin lists the object, unless another login to the same server ended in good
// order: a plugin may give new credentials every few minutes.
func (k *keeper) begin(ctx context.Context, s *session) (string, error) {
	from := k.from
	k.from = ""
	if from != "" && k.server == s.server {
		return from, nil
	}
	live, from, err := s.list(ctx, k.key)
	if err != nil {
		return "", err
	}
	k.floor = from
	k.p.learn(k.key, live)
	return from, nil
}

// tend cares for the object and takes the news of a watch until that ends. It
// returns from where the next may go on.
func (k *keeper) tend(ctx context.Context, s *session, w watch.Interface, from string) (string, error) {
	for {
		wait := k.care(ctx, s)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return from, nil
		case <-k.wake:
		case <-timer.C:
		case e, open := <-w.ResultChan():
			if !open {
				timer.Stop()
				return from, nil
			}
			if e.Type == watch.Error {
				timer.Stop()
				return from, brokenOff(apierrors.FromObject(e.Object))
			}
			if o, ok := e.Object.(*unstructured.Unstructured); ok {
				from = o.GetResourceVersion()
				k.take(e.Type, o)
			}
		}
		timer.Stop()
	}
}

// brokenOff drops what client-go says of a connection that ended in the middle:
// the next watch will tell what is wrong, if anything is.
func brokenOff(err error) error {
	if apierrors.IsInternalError(err) && strings.Contains(err.Error(), "watch stream") {
		return nil
	}
	return err
}

// take learns what a watch tells, unless an answer to an apply told newer things
// before.
func (k *keeper) take(what watch.EventType, o *unstructured.Unstructured) {
	if what == watch.Bookmark || o.GetName() != k.key.name {
		return
	}
	order, err := resourceversion.CompareResourceVersion(o.GetResourceVersion(), k.floor)
	if err == nil && order <= 0 {
		return
	}
	k.floor = o.GetResourceVersion()
	if what == watch.Deleted {
		o = nil
	}
	k.p.learn(k.key, o)
}

// care brings the object to what is wanted, as far as that is possible now, and
// says when to look again without news.
func (k *keeper) care(ctx context.Context, s *session) time.Duration {
	for ctx.Err() == nil {
		now := k.now()
		v := k.p.view(k.key)
		if v.version != k.seen {
			k.seen = v.version
			k.tries.hurry()
		}
		m, faults, again := k.decide(ctx, v, now)
		if m.do == nothing {
			k.tryFault = nil
			k.report(faults)
			return min(again, k.untilPeace(now))
		}
		mark := m.mark()
		wait := k.tries.wait(now)
		if mark == k.done {
			wait = max(wait, k.fight.wait(now))
		}
		if wait > 0 {
			k.report(faults)
			return min(wait, again)
		}
		k.act(ctx, s, v, m, mark)
	}
	return never
}

// untilPeace is how long a fault that passes by itself has still to be shown.
func (k *keeper) untilPeace(now time.Time) time.Duration {
	left := never
	if k.taken != nil {
		left = max(k.takenUntil.Sub(now), time.Millisecond)
	}
	if !k.fight.over(now) {
		left = min(left, max(k.fight.last.Add(peaceAfter).Sub(now), time.Millisecond))
	}
	return left
}

// decide is the move for the object now. A Secret may need a new certificate.
func (k *keeper) decide(ctx context.Context, v view, now time.Time) (move, []fault, time.Duration) {
	if k.key.kind == secretKind() {
		return k.decideSecret(ctx, v, now)
	}
	m, faults, err := v.decide(k.key)
	if err != nil {
		return move{}, []fault{{ruleApplyRefused, err.Error(), ""}}, never
	}
	return m, faults, never
}

func (k *keeper) act(ctx context.Context, s *session, v view, m move, mark string) {
	var live *unstructured.Unstructured
	var err error
	c := call{"patch", k.key}
	switch m.do {
	case apply:
		live, err = s.apply(ctx, k.key, m.body, false)
		if who, is := conflict(err); is {
			if live, err = s.apply(ctx, k.key, m.body, true); err == nil {
				k.takeOver(who)
			}
		}
	case merge:
		live, err = s.merge(ctx, k.key, m.body)
	case remove:
		c.verb = "delete"
		was := v.live[k.key]
		if err = s.remove(ctx, k.key, was); err == nil || apierrors.IsNotFound(err) {
			k.floor, err = was.GetResourceVersion(), nil
		}
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		k.failed(s, c, m, err)
		return
	}
	k.tries.worked()
	k.tryFault, k.refused = nil, ""
	if mark == k.done {
		k.fight.repaired(k.now())
	}
	k.done = mark
	if live != nil {
		k.floor = live.GetResourceVersion()
	}
	k.p.learn(k.key, live)
	if m.what != "" && k.fight.repairs <= 1 {
		k.p.o.Recorded(m.what, nil)
	}
}

func (k *keeper) failed(s *session, c call, m move, err error) {
	k.tries.failed(k.now())
	if apierrors.IsConflict(err) && k.tries.failures < conflictsPass {
		return // somebody was quicker; the watch is about to tell
	}
	f := faultOf(c, err)
	k.tryFault = &f
	k.doubt(s, f)
	k.p.o.Log.Debug("kubernetes refuses", "object", k.key.String(), "rule", f.rule)
	switch f.rule {
	case ruleUnreachable, ruleSlow: // they pass
	case k.refused:
	default:
		k.refused = f.rule
		k.p.o.Recorded(k.lineFor(m), errors.New(f.text))
	}
}

func (k *keeper) lineFor(m move) string {
	if m.what != "" {
		return m.what
	}
	return k.key.String()
}

// takeOver notes that others had written what is CKE's.
func (k *keeper) takeOver(who string) {
	if k.taken == nil {
		k.p.o.Recorded(fmt.Sprintf("%s: fields taken over, and taken back: %s", k.key, who), nil)
	}
	k.taken = &fault{ruleTakenOver,
		fmt.Sprintf("others wrote what CKE keeps in %s, and CKE took it back: %s", k.key, who),
		"find out who writes it: kubectl get --show-managed-fields -o yaml"}
	k.takenUntil = k.now().Add(peaceAfter)
}

// report says how things stand. Without faults and failures all is well.
func (k *keeper) report(faults []fault) {
	now := k.now()
	if k.taken != nil && !now.Before(k.takenUntil) {
		k.taken = nil
	}
	var all []fault
	for _, f := range []*fault{k.linkFault, k.tryFault, k.taken} {
		if f != nil {
			all = append(all, *f)
		}
	}
	if !k.fight.over(now) && k.fight.repairs >= 3 {
		all = append(all, fault{ruleUndone,
			fmt.Sprintf("%s was changed by somebody else %d times, and put right by CKE", k.key, k.fight.repairs),
			"find out who writes it: kubectl get --show-managed-fields -o yaml"})
	}
	k.p.report(k.key, append(all, faults...))
}
