package hosts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/execute"
	"cke/internal/plan"
	"cke/test/drive"
	"cke/test/lab"
)

// TestKilledAfterEffects kills the daemon right after one of its effects; the
// next one finishes the job, on machines. Here that is a sample, which a seed
// repeats, of a founding and of a cleaning, and a chain of daemons, each killed after
// another effect, through the replacement of the leader, what is given to an API
// server's machine and taken from it again, a machine's reboot, the way to the older etcd
// and back, and the replacement of a member that gateways lead to, which is stopped before
// it is removed. Every effect that only machines have must have been among them.
// The long form is all effects of these but of the last two, and of the rebuilding of a
// member.
func TestKilledAfterEffects(t *testing.T) {
	rnd := rand.New(rand.NewPCG(drive.Seed(t), 3))
	e := newEnv(t, 4, lab.DataDisk("1G"))
	chained := map[string]bool{}
	for _, c := range e.changes() {
		e.walk(c, rnd)
		if c.chain {
			e.chain(c, chained)
		}
	}
	if what := fmt.Sprintf("%s %s", plan.RemoveMember, execute.HostStopUnit); !chained[what] {
		t.Errorf("no daemon was killed after %s", what)
	}
	for kind, effects := range drive.OnMachines() {
		for _, effect := range effects {
			if what := fmt.Sprintf("%s %s", kind, effect); !chained[what] {
				t.Errorf("no daemon was killed after %s", what)
			}
		}
	}
}

// change is something CKE does, in the midst of which its daemon is killed.
type change struct {
	name   string
	sample int         // so many kills in the short form, 0 for none, chainOnly: in the long one neither
	chain  bool        // a chain of daemons makes it too
	again  func()      // brings everything to where it begins; no daemon runs then
	make   func() bool // makes it, or the rest of it; false when the daemon died
	nodes  func() []int
}

// chainOnly: on processes, the end-to-end tests go through every effect of it.
const chainOnly = -1

// changes are all of them, each beginning where the one before it ends.
func (e *env) changes() []change {
	three := func() []int { return []int{1, 2, 3} }
	other := &seat{env: e, in: 3, out: 4}
	reboot := &rebooting{seat: other}
	down := &versions{other, cluster.DefaultVersion, drive.OlderVersion}
	up := &versions{other, drive.OlderVersion, cluster.DefaultVersion}
	led := &ledThere{other}
	return []change{
		{"found", 2, false, e.bare, func() bool { return e.set(1, 2, 3) }, three},
		{"rebuild", 0, false, func() { e.loseData(3) }, func() bool { return e.set(1, 2, 3) }, three},
		{"replace", 0, true, other.turn, func() bool { return e.set(other.nodes()...) }, other.nodes},
		{"clean", 1, false, other.leave, func() bool { return e.clean(other.out) }, other.nodes},
		{"tenants", 0, true, other.alone, func() bool { return e.setTo(other.tenants()) }, other.nodes},
		{"no tenants", 0, true, other.host, func() bool { return e.set(other.nodes()...) }, other.nodes},
		{"reboot", 0, true, reboot.again, reboot.make, other.nodes},
		{"downgrade", chainOnly, true, down.again, down.make, other.nodes},
		{"upgrade", chainOnly, true, up.again, up.make, other.nodes},
		{stopFirst, chainOnly, true, led.again, led.make, other.nodes},
	}
}

// walk makes a change once only to see its effects, and then again and again,
// each time with a daemon that is killed after another of them.
func (e *env) walk(c change, rnd *rand.Rand) {
	e.t.Helper()
	if c.sample == chainOnly || c.sample == 0 && !drive.Long() {
		return
	}
	began := time.Now()
	effects := e.effectsOf(c, 0)
	if len(effects) == 0 {
		e.t.Fatalf("%s has no effects", c.name)
	}
	e.t.Logf("%s has %d effects, %s: %q", c.name, len(effects), time.Since(began).Round(time.Millisecond), effects)
	killed := map[string]int{}
	at := func(n int) (died bool) {
		seen := e.effectsOf(c, n)
		if died = len(seen) == n; died {
			killed[seen[n-1]]++
		}
		return died
	}
	if !drive.Long() {
		for _, i := range rnd.Perm(len(effects))[:min(c.sample, len(effects))] {
			for n := i + 1; n > 0 && !at(n); n-- { // it may take fewer another time
			}
		}
		if len(killed) == 0 {
			e.t.Errorf("%s: no daemon was killed", c.name)
		}
		return
	}
	for n := 1; at(n); n++ {
	}
	e.missed(c, effects, killed, at)
}

// missed tries again after the effects that no daemon was killed after: what is
// done in parallel does not always come under the same number.
func (e *env) missed(c change, effects []string, killed map[string]int, at func(int) bool) {
	e.t.Helper()
	for i, what := range effects {
		for range 3 {
			if killed[what] == 0 {
				at(i + 1)
			}
		}
		if killed[what] == 0 {
			e.t.Errorf("%s: no daemon was killed after %s", c.name, what)
		}
	}
	e.t.Logf("%s: daemons were killed after these, so many times: %v", c.name, killed)
}

// effectsOf makes a change with a daemon that is killed after its n-th effect,
// never with 0, and lets another one finish it. It returns the first one's
// effects: n of them if it was killed.
func (e *env) effectsOf(c change, n int) []string {
	e.t.Helper()
	c.again()
	began := time.Now()
	trace := e.Write("trace", "")
	environ := []string{"CKE_EFFECT_TRACE=" + trace}
	if n > 0 {
		environ = append(environ, "CKE_EFFECT_KILL="+strconv.Itoa(n))
	}
	ended := !e.StartWith(environ) || !c.make()
	e.Kill()
	b, err := os.ReadFile(trace)
	e.must(err)
	effects := strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
	died := n > 0 && len(effects) == n // perhaps only after it looked as if all was done
	if ended && !died {
		e.t.Fatalf("%s: a daemon to be killed after effect %d ended after %q", c.name, n, effects)
	}
	if died {
		e.Start()
		if !c.make() {
			e.t.Fatal("the daemon ended although nobody killed it")
		}
		e.whole(c.nodes()...)
		e.Kill()
		e.t.Logf("%s, killed after effect %d, %s: whole again after %s", c.name, n, effects[n-1], time.Since(began).Round(time.Millisecond))
	}
	return effects
}

// whole checks that there is one cluster, founded once, on these machines, and
// that no step went below quorum.
func (e *env) whole(nodes ...int) {
	e.t.Helper()
	e.OnlyMembersAre(e.names(nodes...)...)
	if !e.Settled().AuthOn {
		e.t.Error("authentication is off")
	}
	founded := 0
	for _, r := range e.History() {
		if r.Step != nil && r.Step.Bootstrap != nil {
			founded++
		}
	}
	if founded != 1 {
		e.t.Errorf("the founding was finished %d times", founded)
	}
	e.NeverBelowQuorum()
}

// set puts a spec and waits until it is so or the daemon has been killed; false
// in the latter case.
func (e *env) set(nodes ...int) bool {
	e.t.Helper()
	return e.setTo(e.yaml(nodes...))
}

func (e *env) setTo(yaml string) bool {
	e.t.Helper()
	revision := int64(0)
	alive := true
	e.Within(2*drive.Patience, "the daemon settles or dies", func() error {
		select {
		case <-e.Ended():
			alive = false
			return nil
		default:
		}
		if revision == 0 {
			change, err := e.Client().PutSpec(e.t.Context(), "cluster.yml", []byte(yaml))
			if err != nil {
				return err
			}
			revision = change.Revision
		}
		s, err := e.Client().Status(e.t.Context(), "main")
		if err != nil {
			return err
		}
		if !s.Settled || s.SpecRevision < revision {
			return fmt.Errorf("plan:\n%s", s.Plan)
		}
		return nil
	})
	return alive
}

// clean cleans a machine that left, if that is not done; false when the daemon
// died.
func (e *env) clean(i int) bool {
	e.t.Helper()
	alive := true
	e.Eventually("the machine is clean or the daemon dies", func() error {
		select {
		case <-e.Ended():
			alive = false
			return nil
		default:
		}
		ctx, cancel := context.WithTimeout(e.t.Context(), 30*time.Second)
		defer cancel()
		s, err := e.Client().Status(ctx, "main")
		if err == nil && !s.Settled {
			err = errors.New("not settled")
		}
		if err != nil || !hasLeft(s, e.name(i)) {
			return err
		}
		return cmp.Or(e.Client().CleanNode(ctx, "main", string(e.name(i)), false), errors.New("look again"))
	})
	if alive {
		e.nothingOfCKE(i, "/var/lib/cke", lab.DataDir) // a mount point, and the way to it
	}
	return alive
}

func hasLeft(s api.Status, name cluster.NodeName) bool {
	return slices.ContainsFunc(s.Left, func(n api.NodeStatus) bool { return n.Hostname == name })
}

// bare makes the machines and CKE's store as if nothing had been.
func (e *env) bare() {
	e.t.Helper()
	for i := 1; i <= 4; i++ {
		e.sh(i, `systemctl kill -s KILL etcd-main.service 2>/dev/null; systemctl stop etcd-main.service 2>/dev/null
rm -rf /etc/systemd/system/etcd-main.service /etc/systemd/system/*.wants/etcd-main.service /etc/cke /opt/cke /var/lib/cke/host /var/lib/cke/etcd-aside /var/lib/cke/etcd/main
systemctl daemon-reload; systemctl reset-failed; ! pgrep -x etcd`)
	}
	for _, name := range []string{"state", "seal.key"} {
		e.must(os.RemoveAll(filepath.Join(e.Dir, name)))
	}
}

// loseData takes a member's data away under its feet.
func (e *env) loseData(i int) {
	e.t.Helper()
	e.sh(i, `systemctl kill -s KILL etcd-main.service; systemctl stop etcd-main.service; rm -rf /var/lib/cke/etcd/main`)
}

// seat is the third member's place, on one of two machines.
type seat struct {
	*env
	in, out int
}

func (s *seat) nodes() []int { return []int{1, 2, s.in} }

// turn has the member that is to go lead, and no etcd where the next one comes.
func (s *seat) turn() {
	s.t.Helper()
	s.Start()
	s.Settled()
	s.lead(s.in, s.nodes()...)
	s.Kill()
	s.in, s.out = s.out, s.in
	s.sh(s.in, "rm -rf /opt/cke/etcd")
}

// leave has the machine that is out not be clean yet.
func (s *seat) leave() {
	s.t.Helper()
	s.Start()
	if !hasLeft(s.Settled(), s.name(s.out)) {
		s.in, s.out = s.out, s.in
		s.Set(s.yaml(s.nodes()...))
	}
	s.Kill()
}

// tenants has each node carry an API server's certificate and a gateway.
func (s *seat) tenants() string {
	s.t.Helper()
	return s.yamlWith(", apiserver: true, gateway: true", s.nodes()...)
}

// alone has no node carry anything but its member.
func (s *seat) alone() {
	s.t.Helper()
	s.Start()
	s.Set(s.yaml(s.nodes()...))
	s.Kill()
	for _, i := range s.nodes() {
		s.sh(i, "mkdir -p /etc/kubernetes/pki; rm -f /etc/kubernetes/pki/*etcd*")
	}
}

// host has each node carry both.
func (s *seat) host() {
	s.t.Helper()
	s.Start()
	s.Set(s.tenants())
	s.Kill()
}

// lead makes a machine's member the leader of those on these machines.
func (e *env) lead(i int, among ...int) {
	e.t.Helper()
	to := uint64(e.MemberID(e.name(i)))
	cert := e.RootCert()
	e.Eventually("the member leads", func() error {
		for _, j := range among {
			c := e.Connect(cert, e.addr(j))
			s, err := c.Status(e.ctx(), c.Endpoints()[0])
			if err != nil || s.Leader == to {
				return err
			}
			if s.Leader == s.Header.MemberId {
				_, err := c.MoveLeader(e.ctx(), to)
				return cmp.Or(err, errors.New("look again"))
			}
		}
		return errors.New("no member leads")
	})
}
