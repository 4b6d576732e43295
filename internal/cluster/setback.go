package cluster

import (
	"maps"
	"slices"
	"time"
)

const (
	// setbackHolds is how long a node's misfortune is remembered.
	setbackHolds = 2 * time.Hour
	// setbackMost bounds the time a node is given before it is tried again.
	setbackMost = time.Hour
)

// Setback is what a node's member came to: it did not serve for replace_after, or as a
// learner came no nearer to the others, and was taken out.
type Setback struct {
	// Learners is how many in a row never came to vote.
	Learners int       `json:"learners,omitempty"`
	Last     time.Time `json:"last"`
}

// Again is when a node may be tried again whose learners never came to vote. One
// whose voter died may be at once.
func (s Setback) Again(replaceAfter time.Duration) time.Time {
	wait := time.Duration(0)
	for i := range s.Learners {
		if wait = replaceAfter << i; wait >= setbackMost {
			wait = setbackMost
			break
		}
	}
	return s.Last.Add(wait)
}

// Setbacks are the nodes' misfortunes.
type Setbacks map[NodeName]Setback

// After is what is known after the membership was seen to be now what it is,
// having been before. Which node a member lives on its peer URL says. The map it
// is called on is left as it is.
func (s Setbacks) After(before, now []Member, nodes []Node, replaceAfter time.Duration, at time.Time) Setbacks {
	next := Setbacks{}
	maps.Copy(next, s)
	maps.DeleteFunc(next, func(name NodeName, b Setback) bool {
		known := slices.ContainsFunc(nodes, func(n Node) bool { return n.Hostname == name })
		return !known || at.Sub(b.Last) >= setbackHolds
	})
	for _, n := range nodes {
		e := EtcdState{Members: now}
		if m, ok := e.MemberAt(n); ok && !m.Learner && m.Healthy {
			delete(next, n.Hostname)
		}
		was, ok := EtcdState{Members: before}.MemberAt(n)
		_, stayed := e.Member(was.ID)
		failing := func(since time.Time) bool { return !since.IsZero() && at.Sub(since) >= replaceAfter }
		if !ok || stayed || (was.Healthy || !failing(was.UnhealthySince)) && !failing(was.BehindSince) {
			continue
		}
		b := next[n.Hostname]
		if b.Last = at; was.Learner {
			b.Learners++
		}
		next[n.Hostname] = b
	}
	return next
}
