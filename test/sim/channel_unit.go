package sim

import (
	"context"
	"fmt"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// InstallUnit implements host.Host: what the machine starts by itself comes first.
func (h channel) InstallUnit(ctx context.Context, u cluster.Unit) error {
	m, verb := h.m, "install unit of "+u.Member.String()
	return h.alone(ctx, verb, func() error {
		judged := false
		if m.runtime() == cluster.RuntimeSystemd && m.seals[u.Member] && !m.keeps(u) {
			judged = true
			if err := h.act(verb+inSystemd, func() error {
				if err := m.allowUnit(u); err != nil {
					return err
				}
				m.w.judgeUnit(m, u)
				m.keep(u)
				return nil
			}); err != nil {
				return err
			}
		}
		return h.act(verb, func() error {
			if err := m.allowUnit(u); err != nil {
				return err
			}
			if !judged {
				m.w.judgeUnit(m, u)
			}
			m.unit = &u
			return nil
		})
	})
}

// allowUnit refuses one of another member than that which is there, and one that founds
// once more.
func (m *machine) allowUnit(u cluster.Unit) error {
	if old := m.unit; old != nil && old.Member != u.Member && (m.running(old.Member) || m.dirs[old.Member] != nil && !m.unmounted) {
		return refuse(host.OtherMember, "member "+old.Member.String()+" is still here")
	}
	return m.allowFounding(u)
}

// allowFounding refuses a unit that founds a cluster the machine has had already.
func (m *machine) allowFounding(u cluster.Unit) error {
	if u.Founding == nil || !u.Founding.New {
		return nil
	}
	if _, known := m.seals[u.Member]; known && m.dirs[u.Member] != nil {
		return nil
	}
	carried := len(m.aside) > 0
	for id := range m.dirs {
		carried = carried || id != u.Member
	}
	for id, sealed := range m.seals {
		carried = carried || sealed && id != u.Member
	}
	if carried {
		return refuse(host.FoundedBefore, "the machine carried a member before")
	}
	return nil
}

// allowStart is the machine's guard.
func (m *machine) allowStart(u cluster.Unit) error {
	sealed, known := m.seals[u.Member]
	there := m.dirs[u.Member] != nil && !m.unmounted
	switch {
	case known && m.unmounted:
		return refuse(host.NotMounted, "its disk is not mounted")
	case sealed && !m.hasData(u.Member):
		return refuse(host.DataLost, fmt.Sprintf("member %s was started here before and its data is gone", u.Member))
	case sealed, known && there:
		return nil
	case !known && there:
		return refuse(host.ForeignData, fmt.Sprintf("there is data, and member %s was never started here", u.Member))
	case u.Founding == nil:
		return refuse(host.NotFounding, fmt.Sprintf("member %s was never started and its unit does not say how it enters the cluster", u.Member))
	}
	return m.allowFounding(u)
}

// StartUnit implements host.Host: the guard, the seal's beginning, the process,
// and with its log in place the mark and the seal, each an effect.
func (h channel) StartUnit(ctx context.Context, _ string, id cluster.MemberID) error {
	m := h.m
	select {
	case m.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.lock }()
	verb, step, done := "start "+id.String(), 0, false
	// The guard and what it guards are one request, and no answer lies between them:
	// a slow host answers late, but looks at the data right before it starts the member.
	if err := h.call(ctx, verb, func() (err error) {
		if err = h.act("begin to "+verb, func() error { return h.beginStart(id) }); err == nil {
			done, err = h.goOn(id, verb, &step)
		}
		return err
	}); err != nil || done {
		return err
	}
	sent := time.Now()
	for {
		var err error
		m.w.do(func() {
			h.c.sent = sent
			done, err = h.goOn(id, verb, &step)
		})
		if done || err != nil {
			return err
		}
		if err := h.c.sleep(ctx, 10*time.Millisecond, verb); err != nil {
			return err
		}
		if err := h.c.thaw(ctx, verb); err != nil {
			return err
		}
	}
}

func (h channel) beginStart(id cluster.MemberID) error {
	m := h.m
	switch {
	case m.unit == nil:
		return refuse(host.NoUnit, "no unit is installed")
	case m.unit.Member != id:
		return refuse(host.OtherMember, "the unit is member "+m.unit.Member.String())
	}
	if sealed := m.seals[id]; !sealed || !m.running(id) {
		if err := m.allowStart(*m.unit); err != nil {
			m.w.judgeStart(h.c, m, id)
			return err
		}
		m.seals[id] = sealed
	}
	return nil
}

// goOn takes a start one effect further. What it has begun is in step.
func (h channel) goOn(id cluster.MemberID, verb string, step *int) (done bool, err error) {
	m := h.m
	switch {
	case !m.hears():
		return false, fmt.Errorf("%s: the session ended", verb)
	case m.unit == nil || m.unit.Member != id:
		return false, fmt.Errorf("%s: the unit is gone", verb)
	}
	switch *step {
	case 0:
		if !m.running(id) {
			u := *m.unit
			if m.seals[id] {
				u.Founding = nil
			}
			err = h.act("run "+id.String(), func() error {
				m.w.judgeDrainedStart(h.c, m)
				m.w.judgeVersion(m, u)
				if m.file = nil; m.seals[id] {
					m.keep(u)
				}
				m.launch(u)
				return nil
			})
		}
		if *step = 1; m.seals[id] {
			return true, err
		}
	case 1: // its log is there as soon as it is launched, if it comes at all
		switch {
		case m.dirs[id] != nil && !m.unmounted:
			err = h.act("mark "+id.String(), func() error {
				r := m.dirs[id]
				r.mark = true
				return nil
			})
			*step = 2
		case !m.running(id):
			return false, fmt.Errorf("etcd ends right after its start: %s", m.exit)
		}
	default:
		err = h.act("seal "+id.String(), func() error {
			m.keep(*m.unit)
			m.seals[id] = true
			return nil
		})
		return true, err
	}
	return false, err
}

// StopUnit implements host.Host.
func (h channel) StopUnit(ctx context.Context, req host.StopUnit) error {
	m := h.m
	return h.mutate(ctx, "stop "+req.Member.String(), func() error {
		if m.unit != nil && m.unit.Member != req.Member {
			m.w.judgeOtherStop(h.c, m, req.Member)
			return refuse(host.OtherMember, "the unit is member "+m.unit.Member.String())
		}
		if m.running(req.Member) {
			m.w.judgeStopOnRecord(h.c, m)
			m.w.judgeStop(ctx, h.c, m)
			m.w.judgeBlindStop(m)
			m.w.judgeStopStep(ctx, h.c, m)
			m.w.interrupts = m.w.mayInterrupt(m)
			m.runs++ // nothing starts it again by itself
			m.stopped("signal: terminated")
			m.last, m.again = cluster.Unit{}, 0
			m.w.stoppedByCKE[req.Member] = true
		}
		return nil
	})
}

// RetireUnit implements host.Host: the data leaves first, the seal last.
func (h channel) RetireUnit(ctx context.Context, _ string, id cluster.MemberID) error {
	m := h.m
	select {
	case m.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.lock }()
	verb := "retire " + id.String()
	return h.call(ctx, verb, func() error {
		err := h.act(verb+": move its data aside", func() error {
			if _, known := m.seals[id]; known && m.unmounted {
				return refuse(host.NotMounted, "its disk is not mounted")
			}
			if m.running(id) {
				return refuse(host.StillRunning, "member "+id.String()+" runs")
			}
			m.w.judgeRetire(m, id)
			m.w.judgeBlindRetire(m, id)
			if m.dirs[id] != nil {
				delete(m.dirs, id)
				m.aside = append(m.aside, host.AsideDir{Name: id.String() + "." + time.Now().UTC().Format("20060102T150405"), At: time.Now(), Bytes: 20 << 20})
			}
			return nil
		})
		if err != nil {
			return err
		}
		if m.unit != nil && m.unit.Member == id {
			if m.file != nil {
				if err := h.act(verb+": remove its unit from systemd", func() error { m.file = nil; return nil }); err != nil {
					return err
				}
			}
			if err := h.act(verb+": remove its unit", func() error { m.unit, m.exit = nil, ""; return nil }); err != nil {
				return err
			}
		}
		return h.act(verb+": remove its seal", func() error { delete(m.seals, id); return nil })
	})
}
