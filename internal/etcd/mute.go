package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// muteTimeout is what a member that did not answer the last time, or is asked for
// the first time, gets beyond the others: one that is there answers at once, and
// every look and every guard would wait for one that is not. Looks that follow each
// other wait for the same question once.
const muteTimeout = 100 * time.Millisecond

var errMute = errors.New("it does not answer, as the others do")

// pending is a question to a member that looks do not wait for to its end. Its
// answer, should there be one, makes the next look wait: a member that is far away
// takes longer than this, and is heard all the same.
type pending struct {
	done   chan struct{}
	answer answer
	left   atomic.Bool // a look went on without it
}

// askAll asks all at the same time. Those that answered the last time have all the
// time there is, and the others when none of them did.
func (c *Client) askAll(ctx context.Context, endpoints []Endpoint) []answer {
	answers := make([]answer, len(endpoints))
	var known sync.WaitGroup
	late := map[int]*pending{}
	for i, ep := range endpoints {
		if c.answered(ep) {
			known.Go(func() { answers[i] = c.ask(ctx, ep) })
		} else {
			late[i] = c.askAside(ep)
		}
	}
	known.Wait()
	if limit := muteTimeout; len(late) < len(endpoints) {
		await(ctx, late, limit, false)
	} else {
		await(ctx, late, limit+askTimeout, true) // they say themselves what is wrong
	}
	for i, q := range late {
		select {
		case <-q.done:
			answers[i] = q.answer
		default:
			answers[i] = answer{endpoint: endpoints[i], statusErr: fmt.Errorf("ask %s for its status: %w", endpoints[i], errMute)}
		}
	}
	if ctx.Err() == nil { // a question that was given up says nothing
		c.remember(answers)
	}
	return answers
}

// await waits for questions, but no longer than that, and only again for those that
// were waited for before.
func await(ctx context.Context, late map[int]*pending, limit time.Duration, again bool) {
	end := time.NewTimer(limit)
	defer end.Stop()
	over := false
	for _, q := range late {
		if !over && (again || !q.left.Load()) {
			select {
			case <-q.done:
			case <-end.C:
				over = true
			case <-ctx.Done():
				over = true
			}
		}
		if over {
			q.left.Store(true)
		}
	}
}

// askAside puts a question unless one is under way.
func (c *Client) askAside(ep Endpoint) *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q, ok := c.aside[ep]; ok {
		return q
	}
	q := &pending{done: make(chan struct{})}
	c.aside[ep] = q
	c.asking.Go(func() {
		q.answer = c.ask(c.ctx, ep)
		c.mu.Lock()
		if c.aside[ep] == q {
			delete(c.aside, ep)
		}
		c.mu.Unlock()
		close(q.done)
		if q.answer.statusErr != nil {
			return
		}
		c.remember([]answer{q.answer})
		if q.left.Load() {
			c.opts.Late()
		}
	})
	return q
}

// AskAnew has members that do not answer asked and waited for once more: a question
// that is under way may have got lost, and the member be back since.
func (c *Client) AskAnew(endpoints []Endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ep := range endpoints {
		delete(c.aside, ep)
	}
}

// remember keeps who answers.
func (c *Client) remember(answers []answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range answers {
		switch {
		case a.statusErr == nil:
			c.answers[a.endpoint] = true
		case !errors.Is(a.statusErr, errMute): // else it was no answer yet
			delete(c.answers, a.endpoint)
		}
	}
}

func (c *Client) answered(ep Endpoint) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[ep]
}
