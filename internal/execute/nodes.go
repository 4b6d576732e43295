package execute

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// onNode is what a step does on each of its nodes, which have nothing to do with
// each other.
type onNode interface {
	// right says whether the node is as the step wants it.
	right(n cluster.Node, ns cluster.NodeState) bool
	// work makes it so. The state is a fresh one.
	work(ctx context.Context, n cluster.Node, h host.Host, ns cluster.NodeState) error
}

// nodewise is a step that is checked and carried out on each node by itself, so
// that a slow node keeps no other waiting.
type nodewise struct {
	target
	each onNode
	// limit bounds the work on one node, besides asking it how it is.
	limit time.Duration
}

// Done is for each node to say.
func (a nodewise) Done(context.Context) (bool, error) { return false, nil }

func (a nodewise) Do(ctx context.Context) error {
	rest := a.step.Nodes
	var failed nodeErrors
	if s, ok := a.each.(startMembers); ok {
		first := s.ahead()
		rest = slices.DeleteFunc(slices.Clone(rest), func(n cluster.NodeName) bool { return slices.Contains(first, n) })
		failed = a.onEach(ctx, first, a.one)
	}
	if failed = append(failed, a.onEach(ctx, rest, a.one)...); len(failed) > 0 {
		return failed
	}
	return nil
}

// one does the step's work on one node.
func (a nodewise) one(ctx context.Context, n cluster.Node, h host.Host) error {
	ns, err := a.observed(ctx, n.Hostname)
	if err != nil {
		return err
	}
	if !a.each.right(n, ns) {
		ctx, cancel := context.WithTimeout(ctx, a.limit)
		defer cancel()
		if err := a.each.work(ctx, n, h, ns); err != nil {
			return &NodeError{n.Hostname, err}
		}
	}
	return nil
}

// NodeError is what failed on one node.
type NodeError struct {
	Node cluster.NodeName
	Err  error
}

func (e *NodeError) Error() string { return fmt.Sprintf("%s: %s", e.Node, e.Err) }

// Unwrap returns what failed.
func (e *NodeError) Unwrap() error { return e.Err }

// nodeTimeout bounds the work on one node, besides asking it how it is: a host
// that hangs is not the step's for ever.
const nodeTimeout = 20 * time.Second

// onEach works on nodes in parallel. One node's failure does not cut the others
// short.
func (t target) onEach(ctx context.Context, names []cluster.NodeName, do func(context.Context, cluster.Node, host.Host) error) nodeErrors {
	errs := make(nodeErrors, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			n, err := t.node(name)
			if err == nil {
				var h host.Host
				if h, err = t.host(n); err == nil {
					err = do(ctx, n, h)
				}
			}
			if errs[i] = err; err == nil {
				t.finished(name)
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// onNode works on the one node of a step.
func (t target) onNode(ctx context.Context, do func(context.Context, cluster.Node, host.Host) error) error {
	return t.onNodeFor(ctx, nodeTimeout, do)
}

func (t target) onNodeFor(ctx context.Context, limit time.Duration, do func(context.Context, cluster.Node, host.Host) error) error {
	name := t.step.Nodes[0]
	n, err := t.node(name)
	if err != nil {
		return err
	}
	h, err := t.host(n)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := do(ctx, n, h); err != nil {
		return &NodeError{name, err}
	}
	return nil
}

// nodeErrors are what went wrong on the nodes of a step, on one line.
type nodeErrors []error

func (e nodeErrors) Error() string {
	said := make([]string, len(e))
	for i, err := range e {
		said[i] = err.Error()
	}
	return strings.Join(said, "; ")
}

func (e nodeErrors) Unwrap() []error { return e }
