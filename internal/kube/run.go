package kube

import (
	"context"
	"sync"
	"time"
)

// Run publishes until its context ends, and leaves nothing running.
func (p *Publisher) Run(ctx context.Context) {
	var tries retry
	for ctx.Err() == nil {
		l, err := enter(ctx, p.o.Kubeconfig, p.o.Now())
		var s *session
		if err == nil {
			s, err = newSession(ctx, l.config, p.o.Until)
		}
		if ctx.Err() != nil {
			return
		}
		p.accessible(err)
		if err != nil {
			// A file is cheap to look at, a plugin is not.
			tries.failed(p.o.Now())
			wait := tries.wait(p.o.Now())
			if !l.plugin {
				wait = min(wait, lookEvery)
			}
			idle(ctx, wait)
			continue
		}
		if p.serve(ctx, s, l) {
			tries.failed(p.o.Now())
		} else {
			tries.worked()
		}
		s.close()
		idle(ctx, tries.wait(p.o.Now()))
	}
}

func idle(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// accessible says on the board whether the kubeconfig gives a login.
func (p *Publisher) accessible(err error) {
	p.mu.Lock()
	if err != nil {
		p.board.say(subjectEndpoints, sourceAccess, []fault{unreadable(p.o.Kubeconfig, err)}, p.o.Now())
	} else {
		p.board.unsay(subjectEndpoints, sourceAccess, p.o.Now())
	}
	p.mu.Unlock()
	p.settle()
}

// serve keeps the objects with one login, until that is outdated. It says whether
// the login was good for nothing: another one of the same kind is no hurry.
func (p *Publisher) serve(ctx context.Context, s *session, l login) (vain bool) {
	ctx, cancel := context.WithCancel(ctx)
	staff := staff{p: p, session: s, at: map[key]post{}}
	defer staff.wait.Wait()
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	began := p.o.Now()
	doubted := false
	for {
		staff.fit(ctx)
		select {
		case <-ctx.Done():
			return false
		case <-p.wanting:
			continue
		case <-s.doubt:
			doubted = true
		case <-look.C:
		}
		now := p.o.Now()
		out, err := l.outdated(now)
		p.accessible(err)
		switch {
		case out:
			return l.spent(began)
		case doubted && l.plugin && now.Sub(began) >= restless:
			return now.Sub(began) < peaceAfter
		}
		if !l.plugin {
			doubted = false
		}
	}
}

// staff are the keepers at work in a session.
type staff struct {
	p       *Publisher
	session *session
	wait    sync.WaitGroup
	at      map[key]post
}

type post struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// fit has a keeper at work for each object that is wanted, and for no other.
func (s *staff) fit(ctx context.Context) {
	wanted := s.p.hire()
	s.p.settle()
	for k, post := range s.at {
		if wanted[k] == nil {
			post.cancel()
			<-post.done
			delete(s.at, k)
		}
	}
	for k, keeper := range wanted {
		if _, works := s.at[k]; works {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		s.at[k] = post{cancel, done}
		s.wait.Go(func() {
			defer close(done)
			defer cancel()
			keeper.run(ctx, s.session)
		})
	}
}

// hire gives the keepers of all objects that are wanted, and forgets others.
func (p *Publisher) hire() map[key]*keeper {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := map[key]*keeper{}
	if p.version == 0 {
		return wanted
	}
	keys := endpointKeys()
	for _, b := range p.export.Bundles {
		keys = append(keys, secretKey(b))
	}
	for _, k := range keys {
		if p.keepers[k] == nil {
			p.keepers[k] = newKeeper(p, k)
		}
		wanted[k] = p.keepers[k]
	}
	for k := range p.keepers {
		if wanted[k] == nil {
			delete(p.keepers, k)
			delete(p.live, k)
			p.board.unsay(subjectOf(k), k.String(), p.o.Now())
		}
	}
	return wanted
}
