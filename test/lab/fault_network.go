package lab

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Cut pulls a machine's cable out. It stays out if the machine starts again.
func Cut(m *Machine) Fault {
	set := func(cut bool, state string) func() error {
		return func() error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.cut = cut
			// By its cable, not by whether it runs: one that starts again by itself keeps it.
			if !exists(filepath.Join(namespaces, netSpace(m.name))) {
				return nil // its next start plugs it in, or not
			}
			return cable(m.name, state)
		}
	}
	return Fault{Name: "cut " + m.name + " off", Break: set(true, "down"), Heal: set(false, "up")}
}

// Partition lets nothing pass between two groups of nodes. Within a group, and
// to nodes of neither, everything passes.
func Partition(a, b []Node) Fault {
	one, other := addresses(a), addresses(b)
	return filter("part "+names(a)+" from "+names(b),
		"ip saddr "+one+" ip daddr "+other+" drop",
		"ip saddr "+other+" ip daddr "+one+" drop")
}

// DropOneWay loses what one node sends to another; the other way is open.
func DropOneWay(from, to Node) Fault {
	return filter("drop what "+from.Name()+" sends to "+to.Name(),
		fmt.Sprintf("ip saddr %s ip daddr %s drop", from.Addr(), to.Addr()))
}

// Loss loses this percentage of a machine's packets, in both directions.
func Loss(m *Machine, percent int) Fault {
	chance := fmt.Sprintf("numgen random mod 100 < %d drop", percent)
	return filter(fmt.Sprintf("lose %d %% of the packets of %s", percent, m.name),
		"ip daddr "+m.addr.String()+" "+chance,
		"ip saddr "+m.addr.String()+" "+chance)
}

// EtcdBlocked drops etcd's ports, those of the machine and those of others that
// it asks; everything else passes, SSH too.
func EtcdBlocked(m *Machine) Fault {
	var rules []string
	for _, end := range []string{"saddr", "daddr"} {
		for _, p := range []string{"sport", "dport"} {
			rules = append(rules, fmt.Sprintf("ip %s %s tcp %s { 2379, 2380 } drop", end, m.addr, p))
		}
	}
	return filter("block etcd's ports of "+m.name, rules...)
}

// ClientPortClosed is a firewall before a machine's client port that one node does not
// get through: what it sends there is lost. Peers, SSH and everybody else pass.
func ClientPortClosed(m *Machine, to Node) Fault {
	return filter("close etcd's client port of "+m.name+" to "+to.Name(),
		fmt.Sprintf("ip saddr %s ip daddr %s tcp dport 2379 drop", to.Addr(), m.addr))
}

// filter is a fault of rules on the switch. Each has a table to itself, so that
// healing one cannot touch another.
func filter(name string, rules ...string) Fault {
	table := fmt.Sprintf("bridge fault%08x", rand.Uint32()) //nolint:gosec // a name, not a secret
	text := "table " + table + " {\n chain drops {\n  type filter hook forward priority 0\n  " +
		strings.Join(rules, "\n  ") + "\n }\n}\n"
	nft := func(script string) error {
		_, err := commandWith(script, "nsenter", "--net="+viaSwitch, "nft", "-f", "-")
		return err
	}
	return Fault{
		Name:  name,
		Break: func() error { return nft(text) },
		Heal:  func() error { return nft("add table " + table + "\ndelete table " + table + "\n") },
	}
}

func names(nodes []Node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Name())
	}
	return strings.Join(all, ", ")
}

// addresses is a set of nftables'.
func addresses(nodes []Node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Addr().String())
	}
	return "{ " + strings.Join(all, ", ") + " }"
}

// SSHRefused refuses connections to a machine's sshd and resets those that are
// open, once something is sent on them; etcd's ports are open.
func SSHRefused(m *Machine) Fault {
	rule := "FORWARD -p tcp -d " + m.addr.String() + " --dport 22 -j REJECT --reject-with tcp-reset"
	return Fault{
		Name:  "refuse ssh to " + m.name,
		Break: func() error { return iptables("-A " + rule) },
		Heal:  func() error { return iptables("-D " + rule) },
	}
}

// iptables changes the rules of the switch. The name says which of the two
// implementations: the one over nftables wants kernel parts that may be missing.
func iptables(change string) error {
	return all(onSwitch("iptables-legacy --wait 60 " + change))
}

// Delay has every packet to a machine wait this long, and up to jitter longer:
// a round trip takes that much more.
func Delay(m *Machine, wait, jitter time.Duration) Fault {
	return delay(fmt.Sprintf("delay what is sent to %s by %s", m.name, wait), m, "", wait, jitter)
}

// SlowSSH has every packet to a machine's sshd wait this long, so that each call
// on an open connection takes that much longer, and a new connection a multiple.
func SlowSSH(m *Machine, wait time.Duration) Fault {
	return delay(fmt.Sprintf("slow ssh to %s by %s", m.name, wait), m, " -p tcp --dport 22", wait, 0)
}

func delay(name string, m *Machine, only string, wait, jitter time.Duration) Fault {
	queue := 1 + rand.IntN(1<<16-1) //nolint:gosec // chance; taking one that is taken is an error
	// Through --queue-bypass packets pass when nobody has the queue any more.
	rule := fmt.Sprintf("FORWARD -d %s%s -j NFQUEUE --queue-num %d --queue-bypass", m.addr, only, queue)
	end := func() error { return nil }
	return Fault{
		Name: name,
		Break: func() (err error) {
			if end, err = m.startDelayer(queue, wait, jitter); err != nil {
				return err
			}
			return iptables("-I " + rule)
		},
		Heal: func() error { return errors.Join(iptables("-D "+rule), end()) },
	}
}

// startDelayer starts the program that holds the packets of a queue, and waits
// until it has the queue.
func (m *Machine) startDelayer(queue int, wait, jitter time.Duration) (end func() error, err error) {
	fail := func(err error) (func() error, error) {
		return func() error { return nil }, fmt.Errorf("delay packets: %w", err)
	}
	groups, err := makeGroup(helperGroup)
	if err != nil {
		return fail(err)
	}
	group, err := os.Open(filepath.Clean(groups[0]))
	if err != nil {
		return fail(err)
	}
	defer group.Close()
	cmd := exec.Command("nsenter", "--net="+viaSwitch, m.home.program(), "delay",
		"-queue", strconv.Itoa(queue), "-wait", wait.String(), "-jitter", jitter.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(group.Fd())}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		return fail(errors.Join(commandError(cmd, cmd.Wait(), stderr.String())))
	}
	return func() error {
		err := cmd.Process.Kill()
		cmd.Wait() //nolint:errcheck // killed, as it was to be
		return err
	}, nil
}
