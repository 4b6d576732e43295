package execute

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/observe"
	"cke/internal/plan"
)

// moving is three members that note when they are looked at and when leadership moves,
// from the beginning of the step on.
type moving struct {
	*three
	began  time.Time
	looked []time.Duration
	moved  []time.Duration
	// beforeLook is what happens right before the look of that number, from 0 on.
	beforeLook func(int)
}

func newMoving(t *testing.T) *moving {
	m := &moving{three: newThree(t), beforeLook: func(int) {}}
	e := movingMembers{members{c: m.three}, m}
	m.x.o.Etcd = e
	m.x.o.Observer = observe.New(observe.Options{Hosts: m.three, Etcd: e, Authority: m.x.o.Authority, Identity: me, Now: time.Now, Log: m.x.o.Log})
	t.Cleanup(m.x.o.Observer.Close)
	m.began = time.Now()
	return m
}

func (m *moving) move(ctx context.Context) error {
	return m.run(ctx, plan.Step{Kind: plan.MoveLeader, Nodes: []cluster.NodeName{"cp1", "cp3"}, Member: 1, To: 3})
}

type movingMembers struct {
	members
	m *moving
}

func (e movingMembers) Observe(ctx context.Context, eps []etcd.Endpoint, all []cluster.Node) cluster.EtcdState {
	e.m.beforeLook(len(e.m.looked))
	e.m.looked = append(e.m.looked, time.Since(e.m.began))
	return e.members.Observe(ctx, eps, all)
}

func (e movingMembers) MoveLeader(context.Context, etcd.Endpoint, cluster.MemberID) error {
	e.m.moved = append(e.m.moved, time.Since(e.m.began))
	return nil
}

// etcd drops what is written while nobody leads, for the longer the busier the members
// are. So after the first look nothing is done for a while, and what was seen before it
// is no ground for the move.
func TestLeadershipMovesAfterACalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMoving(t)
		if err := m.move(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(m.moved) != 1 || len(m.looked) < 2 || m.looked[0] != 0 {
			t.Fatalf("looked at %v, moved at %v", m.looked, m.moved)
		}
		if m.looked[1] == 0 {
			t.Errorf("no calm after the first look: looked at %v, moved at %v", m.looked, m.moved)
		}
		if last := m.looked[len(m.looked)-1]; last != m.looked[1] || m.moved[0] != last {
			t.Errorf("the move is not right after a look that follows the calm: looked at %v, moved at %v", m.looked, m.moved)
		}
	})
}

// What becomes of the members during the calm counts.
func TestWhatHappensBeforeLeadershipMovesCounts(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(*three)
		err       string
	}{
		"the heir falls":      {func(c *three) { c.e.Members[2].Healthy = false }, "member 3 is no healthy voter"},
		"the heir is removed": {func(c *three) { c.e.Members = c.e.Members[:2] }, "member 3 is no healthy voter"},
		"the quorum is lost":  {func(c *three) { c.e.Quorum = false }, "no quorum now"},
		"it is another's":     {func(c *three) { c.e.ClusterID = 8 }, "cluster 8 answers, not 7"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMoving(t)
				m.beforeLook = func(n int) {
					if n == 1 {
						c.meanwhile(m.three)
					}
				}
				if err := m.move(t.Context()); err == nil || !strings.Contains(err.Error(), c.err) || len(m.moved) > 0 {
					t.Errorf("%v, moved at %v", err, m.moved)
				}
			})
		})
	}
}

// Who leads already is left alone, and at once; and a cke that is stopped during the
// calm moves nobody.
func TestLeadershipThatNeedNotMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMoving(t)
		m.e.Members[0].Leader, m.e.Members[2].Leader = false, true
		if err := m.move(t.Context()); err != nil || len(m.moved) > 0 || time.Since(m.began) > 0 {
			t.Errorf("%v after %s, moved at %v", err, time.Since(m.began), m.moved)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := newMoving(t)
		ctx, cancel := context.WithCancel(t.Context())
		m.beforeLook = func(int) { cancel() }
		if err := m.move(ctx); !errors.Is(err, context.Canceled) || len(m.moved) > 0 || len(m.looked) != 1 {
			t.Errorf("%v, looked at %v, moved at %v", err, m.looked, m.moved)
		}
	})
}
