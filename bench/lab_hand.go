package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"cke/test/lab"
)

// hand is a cluster on machines of a lab that is cared for by hand, by somebody
// who makes no mistake, waits for nothing that need not be waited for, and has a
// connection to each machine and each member open all the time.
type hand struct {
	*byHand
	l       *lab.Lab
	ways    map[*lab.Machine]*ssh.Client
	clients map[*lab.Machine]*clientv3.Client
}

// byHandOn founds a cluster on the first three of these machines.
func byHandOn(ctx context.Context, o options, l *lab.Lab, machines []*lab.Machine) (_ *hand, err error) {
	h := &hand{
		byHand: &byHand{machines: machines[:3], spares: machines[3:], etcd: floorEtcd, dir: filepath.Join(o.dir, "hand")},
		l:      l, ways: map[*lab.Machine]*ssh.Client{}, clients: map[*lab.Machine]*clientv3.Client{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	for _, m := range h.spares {
		if _, err := m.Exec(ctx, "mkdir", "-p", filepath.Dir(floorEtcd)); err != nil {
			return h, err
		}
	}
	if err := h.prepare(ctx); err != nil {
		return h, err
	}
	if err := h.copyTo(ctx, filepath.Join(o.bin, "etcd"), floorEtcd, machines); err != nil {
		return h, err
	}
	if err := h.start(ctx, oneFirst); err != nil {
		return h, err
	}
	var p parts
	if err := finishByHand(ctx, h.endpoints(), h.root, &p); err != nil {
		return h, err
	}
	for _, m := range machines {
		if err := h.reach(ctx, m); err != nil {
			return h, err
		}
	}
	return h, nil
}

// reach connects to a machine and its member.
func (h *hand) reach(ctx context.Context, m *lab.Machine) (err error) {
	if h.ways[m], err = dialed(ctx, h.l, m); err != nil {
		return err
	}
	cs, err := connect([]string{clientURL(m)}, h.root)
	if err == nil {
		h.clients[m] = cs[0]
	}
	return err
}

func clientURL(m *lab.Machine) string { return "https://" + m.Addr().String() + ":2379" }

func (h *hand) close() error {
	var errs []error
	for m := range h.ways {
		errs = append(errs, h.leave(m))
	}
	return errors.Join(errs...)
}

// leave drops the connections to a machine; one to a machine without power is
// broken already.
func (h *hand) leave(m *lab.Machine) error {
	_ = h.ways[m].Close()
	delete(h.ways, m)
	c := h.clients[m]
	delete(h.clients, m)
	if c == nil {
		return nil
	}
	return c.Close()
}

// sh runs a line of shell on a machine.
func (h *hand) sh(m *lab.Machine, line string) error {
	s, err := h.ways[m].NewSession()
	if err != nil {
		return fmt.Errorf("reach %s: %w", m.Name(), err)
	}
	defer s.Close()
	var said bytes.Buffer
	s.Stderr = &said
	if err := s.Run(line); err != nil {
		return fmt.Errorf("on %s: %s: %w: %s", m.Name(), line, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// member is etcd's number of the member on a machine, and whether it leads.
func (h *hand) member(ctx context.Context, m *lab.Machine) (id uint64, leads bool, err error) {
	st, err := h.clients[m].Status(ctx, clientURL(m))
	if err != nil {
		return 0, false, fmt.Errorf("ask %s: %w", m.Name(), err)
	}
	return st.Header.MemberId, st.Leader == st.Header.MemberId, nil
}

// serves returns once a member answers a read that its leader agrees to.
func (h *hand) serves(ctx context.Context, m *lab.Machine) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		one, done := context.WithTimeout(ctx, 300*time.Millisecond)
		_, err := h.clients[m].Get(one, "/bench", clientv3.WithCountOnly())
		done()
		if err == nil {
			return nil
		}
		if err := pause(ctx, retryEvery); err != nil {
			return fmt.Errorf("wait for %s: %w", m.Name(), err)
		}
	}
}

// stopAndStart is SIGTERM, SIGKILL after a second, and a start, as one line.
const stopAndStart = `u=` + floorUnit + `; p=/proc/$(systemctl show -p MainPID --value $u)
systemctl stop --no-block $u
i=0; while [ $i -lt 100 ] && [ -e $p ]; do sleep 0.01; i=$((i+1)); done
systemctl kill -s KILL $u 2>/dev/null
systemctl start --no-block $u`

// roll restarts three members, one after another: the followers first, then the
// leader, with leadership moved to a member that has been restarted.
func (h *hand) roll(ctx context.Context) error {
	return h.inTurn(ctx, func(*lab.Machine) error { return nil })
}

// inTurn does so, and something ahead of each.
func (h *hand) inTurn(ctx context.Context, ahead func(*lab.Machine) error) error {
	var order []*lab.Machine
	var last *lab.Machine
	for _, m := range h.machines {
		switch _, leads, err := h.member(ctx, m); {
		case err != nil:
			return err
		case leads:
			last = m
		default:
			order = append(order, m)
		}
	}
	if last == nil || len(order) != len(h.machines)-1 {
		return fmt.Errorf("find the leader: %d of %d follow", len(order), len(h.machines))
	}
	for _, m := range append(order, last) {
		if err := ahead(m); err != nil {
			return err
		}
		if m == last {
			to, _, err := h.member(ctx, order[0])
			if err != nil {
				return err
			}
			if _, err := h.clients[m].MoveLeader(ctx, to); err != nil {
				return fmt.Errorf("move leadership: %w", err)
			}
		}
		if err := errors.Join(h.sh(m, stopAndStart), h.serves(ctx, m)); err != nil {
			return err
		}
	}
	return nil
}

// naive restarts them in the order of the list, as systemd does it.
func (h *hand) naive() error {
	for _, m := range h.machines {
		if err := h.sh(m, "systemctl restart "+floorUnit); err != nil {
			return err
		}
	}
	return nil
}

// ready puts everything that a machine needs to join on it; nothing is started.
func (h *hand) ready(ctx context.Context, m *lab.Machine, with []*lab.Machine) error {
	files, err := h.files(ctx, m, "existing", append(slices.Clone(with), m))
	if err != nil {
		return err
	}
	now := make(chan struct{})
	close(now)
	return session(ctx, m, fmt.Sprintf(`set -e
systemctl stop %[1]s 2>/dev/null || true
systemctl reset-failed %[1]s 2>/dev/null || true
rm -rf %[2]s
systemd-sysusers --inline 'g etcd -' 'u etcd - "" /nonexistent /usr/sbin/nologin'
head -c %[3]d | tar -xpf - -C /
systemctl daemon-reload
sync
echo begun`, floorUnit, floorData, len(files)), files, now)
}

// leader is the client of the member that leads, among those on these machines.
func (h *hand) leader(ctx context.Context, among []*lab.Machine) (*clientv3.Client, error) {
	for _, m := range among {
		if _, leads, err := h.member(ctx, m); err != nil || leads {
			return h.clients[m], err
		}
	}
	return nil, errors.New("find the leader: none of the others leads")
}

// replace takes a dead machine's member out and brings one in on another, which
// is ready. It says how long each part took, up to the new one's vote.
func (h *hand) replace(ctx context.Context, dead uint64, rest []*lab.Machine, next *lab.Machine) (p parts, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := h.leader(ctx, rest)
	if err != nil {
		return p, err
	}
	p.start()
	if _, err := c.MemberRemove(ctx, dead); err != nil {
		return p, fmt.Errorf("remove the dead member: %w", err)
	}
	p.done("remove")
	added, err := c.MemberAddAsLearner(ctx, []string{"https://" + next.Addr().String() + ":2380"})
	if err != nil {
		return p, fmt.Errorf("add a learner: %w", err)
	}
	p.done("add")
	if err := h.sh(next, "systemctl start --no-block "+floorUnit); err != nil {
		return p, err
	}
	p.done("start")
	for {
		_, err := c.MemberPromote(ctx, added.Member.ID)
		if err == nil {
			p.done("catch up and promote")
			return p, nil
		}
		if time.Since(p.last) > limit/2 {
			log, _ := next.Exec(ctx, "journalctl", "-n", "5", "-u", floorUnit) // there or not, it failed
			return p, fmt.Errorf("promote: %w\n%s", err, log)
		}
		if err := pause(ctx, retryEvery); err != nil {
			return p, err
		}
	}
}
