package execute

import (
	"cmp"
	"slices"
	"sync"

	"cke/internal/cluster"
)

// Progress is what long steps are doing now, for whoever watches. A nil Progress
// keeps nothing. It is safe for concurrent use.
type Progress struct {
	mu      sync.Mutex
	now     map[progressKey]cluster.Progress
	changed chan struct{} // closed and replaced at each change that was waited for
	waited  bool
}

type progressKey struct {
	node cluster.NodeName
	what string
}

// NewProgress returns one with nothing in it.
func NewProgress() *Progress {
	return &Progress{now: map[progressKey]cluster.Progress{}, changed: make(chan struct{})}
}

// Now lists what is under way, by node, and a channel that is closed at the next
// change.
func (p *Progress) Now() ([]cluster.Progress, <-chan struct{}) {
	if p == nil {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []cluster.Progress
	for _, v := range p.now {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b cluster.Progress) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.What, b.What))
	})
	p.waited = true
	return all, p.changed
}

func (p *Progress) set(v cluster.Progress) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now[progressKey{v.Node, v.What}] = v
	p.tell()
}

func (p *Progress) clear(node cluster.NodeName, what string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.now, progressKey{node, what})
	p.tell()
}

// tell costs nothing while nobody watches.
func (p *Progress) tell() {
	if !p.waited {
		return
	}
	p.waited = false
	close(p.changed)
	p.changed = make(chan struct{})
}
