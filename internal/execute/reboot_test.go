package execute

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/observe"
	"cke/internal/plan"
)

// desk is a store that says whether a machine may still be told to reboot.
type desk struct {
	Store
	may    bool
	drains []cluster.Drain
}

func (d *desk) TellReboot(_ context.Context, _ string, _, _ cluster.Reboot, drains []cluster.Drain) (bool, error) {
	d.drains = drains
	return d.may, nil
}

// booted is a machine that says which boot it runs.
type booted struct {
	machine
	told *bool
}

func (b booted) Facts(context.Context, string, netip.Addr) (host.Facts, error) {
	return host.Facts{Boot: "b1"}, nil
}

func (b booted) Reboot(context.Context, host.Reboot) error {
	*b.told = true
	return nil
}

type bootedHosts struct {
	c    *three
	told *bool
}

func (h bootedHosts) Host(n cluster.Node) (host.Host, error) {
	return booted{machine{c: h.c, name: n.Hostname}, h.told}, nil
}

// A machine is told to go only if what is known of maintenance is still what it was when
// that was decided.
func TestAMachineIsNotToldOnceMaintenanceIsAnother(t *testing.T) {
	for _, may := range []bool{true, false} {
		c, d, told, err := tellToReboot(t, may, nil)
		if err != nil || told != may || !slices.Equal(d.drains, c.w.Drains) {
			t.Errorf("still so: %v; told: %v, by drains %v, %v", may, told, d.drains, err)
		}
	}
}

// Others fell since that was decided: its member is started instead.
func TestAMachineIsNotToldOnceTheQuorumNeedsIt(t *testing.T) {
	_, d, told, err := tellToReboot(t, true, func(c *three) { c.e.Members[1].Healthy, c.e.Members[2].Healthy = false, false })
	if err == nil || !strings.Contains(err.Error(), "the quorum needs the member on cp2") || told || d.drains != nil {
		t.Errorf("told: %v, asked for: %v, %v", told, d.drains, err)
	}
}

func tellToReboot(t *testing.T, may bool, before func(*three)) (c *three, d *desk, told bool, err error) {
	t.Helper()
	c, d = newThree(t), &desk{may: may}
	if before != nil {
		before(c)
	}
	c.w.Drains = []cluster.Drain{{Node: "cp2", By: "ada", Reboot: true}}
	r := cluster.Reboot{Nodes: []cluster.NodeName{"cp2"}}
	c.w.Reboot = &r
	var hosts observe.Hosts = bootedHosts{c, &told}
	c.x.o.Store, c.x.o.Hosts = d, hosts
	to := r
	to.Boot = "b1"
	// The observer asks its own hosts, which say of no boot: they are these, too.
	c.x.o.Observer = observe.New(observe.Options{Hosts: hosts, Etcd: members{c: c}, Authority: c.x.o.Authority, Identity: me, Now: c.x.o.Now, Log: c.x.o.Log})
	t.Cleanup(c.x.o.Observer.Close)
	err = c.run(t.Context(), plan.Step{Kind: plan.RebootMachine, Nodes: []cluster.NodeName{"cp2"}, Reboot: &to})
	return c, d, told, err
}
