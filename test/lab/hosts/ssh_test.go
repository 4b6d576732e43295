package hosts

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/test/lab"
)

// TestOneHostUnreachable: a machine's sshd refuses everybody while its member
// serves. Everything else goes on, the machine is shown as it is, and nothing
// is done to its member.
func TestOneHostUnreachable(t *testing.T) {
	e := newCluster(t, 5, []int{1, 2, 3})
	w := e.tenant(false, 1, 2, 3)
	pid, member := e.mainPID(2), e.MemberID("h2")
	heal := e.lab.Break(t, lab.SSHRefused(e.lab.Machine(2)))
	e.Until("h2 is shown as unreachable, its member as healthy", func(s api.Status) error {
		n := node(s, "h2")
		if n.Reachable || n.Member == nil || !n.Member.Healthy {
			return fmt.Errorf("h2: %+v", n)
		}
		return nil
	})
	r := e.Reason("hostIsUnreachable", "h2")
	e.Says("the reason", r.Text, "10.77.0.12")
	e.Says("node list", e.CLI("node", "list"), "UNREACHABLE")

	// The cluster grows and shrinks meanwhile; it is not settled, for h2 is away.
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3, 4, 5)))
	e.votersAre(1, 2, 3, 4, 5)
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3)))
	e.votersAre(1, 2, 3)
	w.Wrote(50)

	heal()
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	if now := e.mainPID(2); now != pid {
		t.Errorf("the member on h2 was restarted: pid %s, was %s", now, pid)
	}
	if now := e.MemberID("h2"); now != member {
		t.Errorf("the member on h2 is %s, was %s", now, member)
	}
	w.Finish(200)
	e.NeverBelowQuorum()
}

// node finds a node's status.
func node(s api.Status, name cluster.NodeName) api.NodeStatus {
	i := slices.IndexFunc(s.Nodes, func(n api.NodeStatus) bool { return n.Hostname == name })
	if i < 0 {
		return api.NodeStatus{}
	}
	return s.Nodes[i]
}

// votersAre waits until exactly these machines carry serving voters, whether or
// not all is settled.
func (e *env) votersAre(nodes ...int) api.Status {
	e.t.Helper()
	return e.Until(fmt.Sprintf("the voters are on %v", nodes), func(s api.Status) error {
		var got []cluster.NodeName
		for _, n := range s.Nodes {
			if n.Member == nil {
				continue
			}
			if n.Member.Learner || !n.Member.Healthy {
				return fmt.Errorf("member on %s: %+v", n.Hostname, *n.Member)
			}
			got = append(got, n.Hostname)
		}
		slices.Sort(got)
		if !slices.Equal(got, e.names(nodes...)) {
			return fmt.Errorf("voters on %v", got)
		}
		return nil
	})
}

// TestASlowHost: every call to one machine takes 5 s. The others' care does not
// wait for it: they are changed three times, one change after the other, before
// its own first change is through. A member is added beside it, and it is cared
// for as well.
func TestASlowHost(t *testing.T) {
	e := newCluster(t, 4, []int{1, 2, 3})
	withPort := func(port int, nodes ...int) string {
		return e.Write("cluster.yml", e.yamlWith(", gateway: true", nodes...)+fmt.Sprintf("kubernetes: {gateway_port: %d}\n", port))
	}
	e.CLI("cluster", "set", withPort(gatewayPort, 1, 2, 3), "--wait")
	// All of it on the way there; the way back is not slowed down.
	e.lab.Break(t, lab.SlowSSH(e.lab.Machine(3), 5*time.Second))
	began, port := time.Now(), gatewayPort
	for try := 1; ; try++ {
		err := e.changedBeside(withPort, &port)
		if err == nil {
			break
		}
		if try == 3 {
			t.Fatal(err)
		}
		t.Logf("once more, for the box may have stood still: %v", err)
	}
	t.Logf("h1 and h2 were changed three times within %s", time.Since(began))
	e.CLI("cluster", "set", withPort(port, 1, 2, 3, 4))
	e.votersAre(1, 2, 3, 4)
	t.Logf("h4 carries a member after %s", time.Since(began))
	e.Eventually("the gateway of h3 is changed, too", func() error { return e.gatewaysAreAt(port, 3) })
	t.Logf("h3 was changed after %s", time.Since(began))
}

// changedBeside changes h1 and h2 three times, by the port of their gateways, and says
// how h3 was changed before that was over.
func (e *env) changedBeside(withPort func(port int, nodes ...int) string, port *int) error {
	e.t.Helper()
	e.Eventually("the gateway of h3 is where it was told to be last", func() error { return e.gatewaysAreAt(*port, 3) })
	began, before := time.Now(), *port
	for range 3 {
		*port++
		e.CLI("cluster", "set", withPort(*port, 1, 2, 3))
		e.Eventually("the gateways of h1 and h2 are changed", func() error { return e.gatewaysAreAt(*port, 1, 2) })
	}
	if e.gatewaysAreAt(before, 3) != nil {
		return fmt.Errorf("h3 was changed within %s: it is not slow, or the others waited for it", time.Since(began))
	}
	return nil
}

const gatewayPort = int(cluster.DefaultGatewayPort)

// gatewaysAreAt checks on what port machines' gateways are to listen.
func (e *env) gatewaysAreAt(port int, nodes ...int) error {
	e.t.Helper()
	for _, i := range nodes {
		if out := e.sh(i, fmt.Sprintf(`grep -c -E '"port": ?%d\b' /var/lib/cke/gateway/main.json || true`, port)); out == "0" {
			return fmt.Errorf("the gateway of h%d is not at %d", i, port)
		}
	}
	return nil
}
