package observe

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/host"
)

// muteEtcd is members of which the first does not answer.
type muteEtcd struct{ *slowEtcd }

func (e muteEtcd) Observe(ctx context.Context, eps []etcd.Endpoint, nodes []cluster.Node) cluster.EtcdState {
	s := e.slowEtcd.Observe(ctx, eps, nodes)
	if len(s.Members) > 0 {
		s.Members[0].Healthy = false
	}
	return s
}

// partHosts say after a while how far a member is.
type partHosts struct {
	slowHosts
	takes   time.Duration
	applied uint64
	err     error
}

func (p *partHosts) Host(n cluster.Node) (host.Host, error) {
	h, err := p.slowHosts.Host(n)
	return partHost{h, p}, err
}

type partHost struct {
	host.Host
	p *partHosts
}

func (h partHost) Progress(ctx context.Context, _ string, _ cluster.MemberID) (uint64, error) {
	if err := passed(ctx, h.p.takes); err != nil {
		return 0, err
	}
	return h.p.applied, h.p.err
}

// Whether a member that does not answer takes part in the quorum is unknown until its
// host has said so, or cannot; where no process runs there is nothing to be asked.
func TestWhetherAMemberTakesPartIsUnknownUntilItsHostWasAsked(t *testing.T) {
	for name, c := range map[string]struct {
		stopped, unknown, takes bool
		after                   time.Duration
		applied                 uint64
		err                     error
	}{
		"it does":             {unknown: true, takes: true, after: time.Second, applied: 7},
		"it does not":         {unknown: true, after: time.Second},
		"the host cannot say": {unknown: true, err: errors.New("no answer")},
		"nothing comes":       {unknown: true, after: time.Hour},
		"no process runs":     {stopped: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLookout(t, 3)
				for i, n := range l.w.Spec.Nodes {
					l.hosts[n.Hostname].facts.Unit = &cluster.UnitState{Unit: cluster.Unit{Member: cluster.MemberID(i + 1)}, Running: i > 0 || !c.stopped, Sealed: true}
				}
				l.o.Etcd = muteEtcd{l.etcd}
				l.o.Hosts = &partHosts{l.hosts, c.after, c.applied, c.err}
				for range 12 {
					st, _ := l.look(t)
					if ns := st.Nodes["n0"]; ns.PartUnknown != c.unknown || !ns.TookPart.IsZero() {
						t.Errorf("%s after it ceased to serve: unknown %v, took part at %s", time.Since(st.Etcd.Members[0].UnhealthySince), ns.PartUnknown, ns.TookPart)
					}
					if st.Nodes["n1"].PartUnknown {
						t.Error("of one that serves it is unknown")
					}
					<-time.After(900 * time.Millisecond)
				}
				l.look(t) // which asks
				<-time.After(partTimeout)
				synctest.Wait()
				st, _ := l.look(t)
				if ns := st.Nodes["n0"]; ns.PartUnknown || !ns.TookPart.IsZero() != c.takes {
					t.Errorf("asked: unknown %v, took part at %s", ns.PartUnknown, ns.TookPart)
				}
			})
		})
	}
}
