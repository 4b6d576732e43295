package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"cke/internal/units"
	"cke/test/lab"
)

const (
	replacePairs = 4 // each of both is the first as often as the other
	// deadFor is how long a member has been dead when it is replaced: everybody
	// has noticed.
	deadFor = 25 * time.Second
	// fillValue is the size of each value. A database of this many is sent as a
	// snapshot, as any that is older than its raft log.
	fillValue   = 32 << 10
	fillWriters = 8
	// sameSize is how many parts of a hundred the databases may differ in size.
	sameSize = 5
)

// replaceInLab replaces a dead member of a large database: by CKE, from the
// moment at which it decided to, and by hand.
func replaceInLab(ctx context.Context, o options, l *lab.Lab) error {
	return withBoth(ctx, o, l, "", func(t *tended, h *hand) error {
		if err := t.fillBoth(ctx, o, h); err != nil {
			return err
		}
		var ratios []float64
		var all [2][]time.Duration
		cke := places{carry: []int{1, 2, 3}, spare: 4}
		hands := places{carry: []int{5, 6, 7}, spare: 8}
		for n := range o.times(replacePairs) {
			took, err := replacePair(ctx, o, t, h, &cke, &hands, n)
			if err != nil {
				return fmt.Errorf("pair %d: %w", n+1, err)
			}
			ratios = append(ratios, float64(took[0])/float64(took[1]))
			fmt.Printf("   ratio %.2f\n", ratios[n])
			for i := range all {
				all[i] = append(all[i], took[i])
			}
		}
		fmt.Printf("medians of %d: cke %d ms, by hand %d ms\n", len(ratios), median(all[0]).Milliseconds(), median(all[1]).Milliseconds())
		fmt.Printf("median ratio of replacing a dead member of %s to by hand: %.2f (target at most %.1f)\n", units.Size(o.size), median(ratios), ratioTarget)
		return nil
	})
}

// fillBoth fills both databases, and makes each member's as small as they can be: how
// much is free between what they hold is a matter of chance.
func (t *tended) fillBoth(ctx context.Context, o options, h *hand) error {
	members := map[string]*clientv3.Client{}
	for _, url := range t.d.site.endpoints() {
		members[url] = t.etcd
	}
	for _, m := range h.machines {
		members[clientURL(m)] = h.clients[m]
	}
	for _, c := range []*clientv3.Client{t.etcd, h.clients[h.machines[0]]} {
		if err := fill(ctx, c, o.size); err != nil {
			return err
		}
	}
	for url, c := range members {
		if _, err := c.Defragment(ctx, url); err != nil {
			return fmt.Errorf("defragment %s: %w", url, err)
		}
	}
	return t.settled(ctx, 1, 2, 3)
}

// fill writes random values until the database is as large as asked for.
func fill(ctx context.Context, c *clientv3.Client, size int64) error {
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for range fillWriters {
		g.Go(func() error {
			value := make([]byte, fillValue)
			for {
				n := next.Add(1)
				if n*fillValue > size {
					return nil
				}
				if _, err := rand.Read(value); err != nil {
					return err
				}
				if _, err := c.Put(gctx, "/fill/"+strconv.FormatInt(n, 10), string(value)); err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("fill the database: %w", err)
	}
	return nil
}

// sizes prints how large the databases are that are sent to the new members, and fails
// when they are not the same to either.
func (t *tended) sizes(ctx context.Context, h *hand, carry []int, rest []*lab.Machine) error {
	var most [2]int64
	for i, urls := range [][]string{t.endpointsBut(carry, carry[len(carry)-1]), {clientURL(rest[0]), clientURL(rest[1])}} {
		for n, url := range urls {
			c := t.etcd
			if i == 1 {
				c = h.clients[rest[n]]
			}
			st, err := c.Status(ctx, url)
			if err != nil {
				return fmt.Errorf("ask %s for its size: %w", url, err)
			}
			most[i] = max(most[i], st.DbSize)
		}
	}
	fmt.Printf("   databases of %s (CKE's) and %s (by hand)\n", units.Size(most[0]), units.Size(most[1]))
	if most[0]*100 > most[1]*(100+sameSize) || most[1]*100 > most[0]*(100+sameSize) {
		return errors.New("the databases are not of one size, and nothing can be compared")
	}
	return nil
}

// warm has what these members hold in the box's memory, whoever was the last to be asked
// for all of his: their disks are read from the box's, which has not room for all in its
// cache.
func warm(ctx context.Context, members []*lab.Machine) error {
	for _, m := range members {
		if _, err := m.Exec(ctx, "sh", "-ec", "cat /var/lib/cke/etcd/bench/*/member/snap/db "+floorData+"/member/snap/db 2>/dev/null | wc -c"); err != nil {
			return err
		}
	}
	return nil
}

// replacePair has one machine of each cluster die, and replaces both members, one
// after the other, each with the disk at rest: the one before has written as much as
// it holds.
func replacePair(ctx context.Context, o options, t *tended, h *hand, cke, hands *places, n int) (took [2]time.Duration, err error) {
	dead, deadHand := cke.carry[0], hands.carry[0]
	m, next := h.l.Machine(deadHand), h.l.Machine(hands.spare)
	id, _, err := h.member(ctx, m)
	if err != nil {
		return took, err
	}
	cke.swap(dead)
	hands.swap(deadHand)
	h.machines = h.at(hands.carry)
	rest := h.machines[:2]
	if err := h.ready(ctx, next, rest); err != nil {
		return took, err
	}
	//nolint:contextcheck // a machine is cut off whoever gave up
	if err := errors.Join(t.l.Machine(dead).PowerCut(), m.PowerCut()); err != nil {
		return took, err
	}
	if err := pause(ctx, deadFor); err != nil {
		return took, err
	}
	of := [][]*lab.Machine{h.at(cke.carry[:2]), rest}
	do := []func() error{
		func() (err error) { took[0], err = t.replaceDecided(ctx, o, cke); return err },
		func() error {
			p, err := h.replace(ctx, id, rest, next)
			took[1] = p.total()
			fmt.Printf("%2d by hand %s\n", n+1, &p)
			return err
		},
	}
	if err := t.sizes(ctx, h, cke.carry, rest); err != nil {
		return took, err
	}
	for i := range do {
		if err := errors.Join(diskAtRest(ctx), warm(ctx, of[(i+n)%2])); err != nil {
			return took, err
		}
		if err := do[(i+n)%2](); err != nil {
			return took, err
		}
	}
	fmt.Printf("%2d cke     %5d ms from the decision\n", n+1, took[0].Milliseconds())
	if err := t.revive(ctx, *cke); err != nil {
		return took, err
	}
	if err := errors.Join(h.leave(m), m.On()); err != nil { //nolint:contextcheck // a machine that was switched on boots whoever gave up
		return took, err
	}
	return took, errors.Join(h.reach(ctx, m), h.serves(ctx, next))
}

// at are the machines of these numbers.
func (h *hand) at(numbers []int) []*lab.Machine {
	var out []*lab.Machine
	for _, i := range numbers {
		out = append(out, h.l.Machine(i))
	}
	return out
}

// replaceDecided has CKE put the newest machine in the dead one's place, and
// returns how long that took from the first step of the removal to the vote.
func (t *tended) replaceDecided(ctx context.Context, o options, p *places) (time.Duration, error) {
	edited := time.Now()
	if err := t.put(ctx, p.carry...); err != nil {
		return 0, err
	}
	at, err := t.promoted(ctx, p.carry...)
	if err != nil {
		return 0, err
	}
	if err := t.tellSince(ctx, o, edited); err != nil {
		return 0, err
	}
	r, err := t.removal(ctx, edited)
	return at.Sub(r.At), err
}
