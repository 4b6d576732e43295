package hosts

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cke/internal/api"
	"cke/test/drive"
)

// chain has one daemon after the other carry a change on, each killed right after its
// first effect that none before it was killed after, until one is left that is done.
// It adds what they were killed after.
func (e *env) chain(c change, chained map[string]bool) {
	e.t.Helper()
	c.again()
	began := time.Now()
	killed := passed(c, chained)
	before := len(killed)
	for {
		trace := e.Write("trace", "")
		if e.StartWith([]string{"CKE_EFFECT_TRACE=" + trace, drive.KillAfterAnother(killed)}) && c.make() {
			break
		}
		e.Kill() // collects it
		effects := fileLines(e.t, trace)
		last := drive.KilledAfter(effects, killed)
		if len(last) == 0 {
			e.t.Fatalf("%s: a daemon ended after %q, those before it after %q", c.name, effects, killed)
		}
		killed = append(killed, last...)
		for _, effect := range last {
			chained[effect] = true
		}
	}
	e.Kill() // it would still end itself after another effect
	e.Start()
	e.whole(c.nodes()...)
	e.Kill()
	e.t.Logf("%s, %s, by daemons killed after %q", c.name, time.Since(began).Round(time.Millisecond), killed[before:])
	if len(killed) == before {
		e.t.Errorf("%s: no daemon was killed", c.name)
	}
}

// rebooting is the reboot of a machine that carries a member.
type rebooting struct {
	*seat
	before string // its boot
	asked  bool
}

// again has the member lead.
func (r *rebooting) again() {
	r.t.Helper()
	r.Start()
	r.Settled()
	r.lead(r.in, r.nodes()...)
	r.Kill()
	r.before, r.asked = r.boot(r.in), false
}

// make asks for the reboot, if nobody has, and waits until it is over; false when the
// daemon died.
func (r *rebooting) make() bool {
	r.t.Helper()
	alive := true
	r.Within(2*drive.Patience, "the machine is rebooted or the daemon dies", func() error {
		select {
		case <-r.Ended():
			alive = false
			return nil
		default:
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
		defer cancel()
		s, err := r.Client().Status(ctx, "main")
		if err != nil {
			return err
		}
		if s.Reboot != nil {
			r.asked = true // one that died before it answered may have taken it
		}
		if !r.asked && s.Settled {
			_, err := r.Client().RebootNodes(ctx, "main", api.RebootRequest{Nodes: []string{string(r.name(r.in))}, Why: "a walk"})
			r.asked = err == nil
			if err != nil {
				return err
			}
		}
		if !r.asked || s.Reboot != nil || len(s.Drains) > 0 || !s.Settled || r.boot(r.in) == r.before {
			return fmt.Errorf("asked %v, it is at %+v, plan:\n%s", r.asked, s.Reboot, s.Plan)
		}
		return nil
	})
	return alive
}

// boot is how a machine's kernel names its boot, empty while it has none.
func (e *env) boot(i int) string {
	out, err := e.lab.Machine(i).Exec(e.ctx(), "cat", "/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return out
}

// versions is a change of etcd's version, which restarts every member.
type versions struct {
	*seat
	from, to string
}

// again has the members run what they come from, and one lead that would not be the
// last in turn.
func (v *versions) again() {
	v.t.Helper()
	v.Start()
	v.Set(v.with(v.from))
	v.lead(1, v.nodes()...)
	v.Kill()
}

func (v *versions) make() bool {
	v.t.Helper()
	return v.setTo(v.with(v.to))
}

func (v *versions) with(version string) string {
	v.t.Helper()
	return strings.Replace(v.yaml(v.nodes()...), "etcd: {", "etcd: {version: "+version+", ", 1)
}
