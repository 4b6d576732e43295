package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
	"cke/test/lab"
)

// What changes of the membership may cost.
const (
	addTarget   = 10 * time.Second
	swapTarget  = 15 * time.Second
	stallTarget = 500 * time.Millisecond

	changeTimes = 3
	swapAfter   = 15 * time.Second // how long the host has been dead
	silentPuts  = 200              // a second
)

// addInLab measures from `cluster set` with one machine more, on which nothing of
// CKE ever was, to its member's vote.
func addInLab(ctx context.Context, o options, l *lab.Lab) error {
	return withTended(ctx, o, l, func(t *tended) error {
		var took []time.Duration
		for n := range o.times(changeTimes) {
			began := time.Now()
			if err := t.put(ctx, 1, 2, 3, 4); err != nil {
				return err
			}
			at, err := t.promoted(ctx, 1, 2, 3, 4)
			if err != nil {
				return err
			}
			took = append(took, at.Sub(began))
			fmt.Printf("%2d from cluster set to voter %5d ms\n", n+1, took[n].Milliseconds())
			if err := t.tellSince(ctx, o, began); err != nil {
				return err
			}
			if err := t.members(ctx, 1, 2, 3, 4); err != nil {
				return err
			}
			if err := t.members(ctx, 1, 2, 3); err != nil {
				return err
			}
			if err := t.d.api.CleanNode(ctx, "bench", t.l.Machine(4).Name(), false); err != nil {
				return err
			}
		}
		printTimes("from cluster set to voter", took, addTarget)
		return nil
	})
}

func printTimes(what string, took []time.Duration, target time.Duration) {
	fmt.Printf("median and worst of %d %s: %d ms and %d ms (target at most %d ms)\n",
		len(took), what, median(took).Milliseconds(), slices.Max(took).Milliseconds(), target.Milliseconds())
}

// swapInLab has a machine die, and puts a new one in its place by an edit of the
// spec a while later: from the edit to the new one's vote.
func swapInLab(ctx context.Context, o options, l *lab.Lab) error {
	return withTended(ctx, o, l, func(t *tended) error {
		var took []time.Duration
		p := places{carry: []int{1, 2, 3}, spare: 4}
		for n := range o.times(changeTimes) {
			dead := p.carry[0]
			if err := t.l.Machine(dead).PowerCut(); err != nil { //nolint:contextcheck // a machine is cut off whoever gave up
				return err
			}
			if err := pause(ctx, swapAfter); err != nil {
				return err
			}
			p.swap(dead)
			began := time.Now()
			if err := t.put(ctx, p.carry...); err != nil {
				return err
			}
			at, err := t.promoted(ctx, p.carry...)
			if err != nil {
				return err
			}
			took = append(took, at.Sub(began))
			fmt.Printf("%2d from the edit to voter %5d ms\n", n+1, took[n].Milliseconds())
			if err := t.tellSince(ctx, o, began); err != nil {
				return err
			}
			if err := t.revive(ctx, p); err != nil {
				return err
			}
		}
		printTimes("from the edit to voter", took, swapTarget)
		return nil
	})
}

// silentInLab cuts a follower off and has it replaced at once, under load: CKE
// waits until its peers have noticed, and nobody feels the removal.
func silentInLab(ctx context.Context, o options, l *lab.Lab) error {
	return withTended(ctx, o, l, func(t *tended) error {
		p := places{carry: []int{1, 2, 3}, spare: 4}
		var worst, worstAll time.Duration
		for n := range o.times(changeTimes) {
			removal, whole, err := t.silence(ctx, o, &p)
			if err != nil {
				return err
			}
			fmt.Printf("%2d longest stall around the removal %d ms, from the silence on %d ms\n", n+1, removal.Milliseconds(), whole.Milliseconds())
			worst, worstAll = max(worst, removal), max(worstAll, whole)
			if err := t.revive(ctx, p); err != nil {
				return err
			}
		}
		fmt.Printf("worst stall of %d puts a second around a removal %d ms (target at most %d ms), from the silence to the new voter %d ms\n",
			silentPuts, worst.Milliseconds(), stallTarget.Milliseconds(), worstAll.Milliseconds())
		return nil
	})
}

// silence cuts a follower off, replaces it, and returns the longest stall of puts
// through the others around its removal, and from the cut on.
func (t *tended) silence(ctx context.Context, o options, p *places) (removal, whole time.Duration, err error) {
	dead, err := t.follower(ctx, p.carry)
	if err != nil {
		return 0, 0, err
	}
	root, err := rootConfig(ctx, t.d.api)
	if err != nil {
		return 0, 0, err
	}
	cl, err := clientv3.New(clientv3.Config{Endpoints: t.endpointsBut(p.carry, dead), TLS: root, Logger: quietLogger()})
	if err != nil {
		return 0, 0, err
	}
	defer cl.Close()
	load := drive(ctx, []*clientv3.Client{cl}, silentPuts, 0)
	cut, removed, err := t.silenceUnderLoad(ctx, o, p, dead)
	out, loadErr := load.end()
	if err == nil {
		err = loadErr
	}
	if o.v {
		fmt.Printf("      %s\n      %s\n", out, out.puts.errors(cut))
	}
	return out.puts.stall(removed.Add(-time.Second), removed.Add(10*time.Second)), out.puts.stall(cut, time.Now()), err
}

func (t *tended) silenceUnderLoad(ctx context.Context, o options, p *places, dead int) (cut, removed time.Time, err error) {
	if err := pause(ctx, around); err != nil {
		return cut, removed, err
	}
	if err := t.l.Machine(dead).PowerCut(); err != nil { //nolint:contextcheck // a machine is cut off whoever gave up
		return cut, removed, err
	}
	cut = time.Now()
	p.swap(dead)
	if err := t.put(ctx, p.carry...); err != nil {
		return cut, removed, err
	}
	if _, err := t.promoted(ctx, p.carry...); err != nil {
		return cut, removed, err
	}
	if err := t.tellSince(ctx, o, cut); err != nil {
		return cut, removed, err
	}
	r, err := t.removal(ctx, cut)
	return cut, r.At, err
}

// removal is the record of the removal since a moment.
func (t *tended) removal(ctx context.Context, since time.Time) (record.Record, error) {
	all, err := t.records(ctx, since)
	for _, r := range all {
		if r.Step.Kind == plan.RemoveMember {
			return r, err
		}
	}
	return record.Record{}, fmt.Errorf("no member was removed: %w", err)
}

// tellSince prints CKE's records since a moment, when asked to.
func (t *tended) tellSince(ctx context.Context, o options, since time.Time) error {
	if !o.v {
		return nil
	}
	all, err := t.records(ctx, since)
	for _, r := range all {
		fmt.Printf("      +%5d ms %s\n", r.At.Sub(since).Milliseconds(), r)
	}
	return err
}

// revive switches the machine that is spare on again, waits until CKE is done
// with it, and has everything of CKE's taken from it.
func (t *tended) revive(ctx context.Context, p places) error {
	if err := t.l.Machine(p.spare).On(); err != nil { //nolint:contextcheck // a machine that was switched on boots whoever gave up
		return err
	}
	if err := t.settled(ctx, p.carry...); err != nil {
		return err
	}
	return t.d.api.CleanNode(ctx, "bench", t.l.Machine(p.spare).Name(), false)
}

// follower is the last of these machines whose member does not lead.
func (t *tended) follower(ctx context.Context, of []int) (int, error) {
	s, err := t.d.api.Status(ctx, "bench")
	if err != nil {
		return 0, err
	}
	for _, i := range slices.Backward(of) {
		for _, n := range s.Nodes {
			if n.Hostname == cluster.NodeName(t.l.Machine(i).Name()) && n.Member != nil && !n.Member.Leader {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("no follower among %v", of)
}

func (t *tended) endpointsBut(of []int, dead int) []string {
	var out []string
	for _, i := range of {
		if i != dead {
			out = append(out, clientURL(t.l.Machine(i)))
		}
	}
	return out
}

// places says which machines carry members, and which is the one that does not.
type places struct {
	carry []int
	spare int
}

// swap puts the spare in a dead machine's place.
func (p *places) swap(dead int) {
	p.carry = append(slices.DeleteFunc(slices.Clone(p.carry), func(i int) bool { return i == dead }), p.spare)
	p.spare = dead
}

func (p places) newest() int { return p.carry[len(p.carry)-1] }
