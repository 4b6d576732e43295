package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
)

const (
	switchSpace = "ckelab"       // the namespace that the bridge is in
	boxLink     = "lab0"         // the box's end of its cable
	wholeRange  = "10.77.0.0/16" // nothing of it may leave the box
	namespaces  = "/run/netns"   // where ip(8) keeps their names
	viaSwitch   = "/run/netns/" + switchSpace
)

// makeSwitch makes the bridge, in a namespace of its own so that no rule of the
// box's meets the lab's packets and no rule of the lab's the box's, and puts the
// box on it. Anything for the range that is on no cable is dropped on the box
// instead of being sent to its default gateway.
func makeSwitch() error {
	return all(
		"ip route replace blackhole "+wholeRange+" metric 4000",
		"ip netns add "+switchSpace,
		"ip -n "+switchSpace+" link set lo up",
		"ip -n "+switchSpace+" link add br0 type bridge",
		"ip -n "+switchSpace+" addr add "+address(bridgeHost).String()+"/24 dev br0",
		"ip -n "+switchSpace+" link set br0 up",
		// iptables, which has what nftables on a bridge lacks (queues and
		// rejects), sees bridged packets only so.
		onSwitch("sysctl -q -w net.bridge.bridge-nf-call-iptables=1"),
		"ip link add "+boxLink+" type veth peer name up0 netns "+switchSpace,
		"ip -n "+switchSpace+" link set up0 master br0 up",
		"ip addr add "+address(boxHost).String()+"/24 dev "+boxLink,
		"ip link set "+boxLink+" up",
	)
}

// onSwitch is a command line in the switch's namespace. `ip netns exec` would
// take a mount namespace too, which keeps disks mounted that are to be gone.
func onSwitch(line string) string { return "nsenter --net=" + viaSwitch + " " + line }

func netSpace(machine string) string { return switchSpace + "-" + machine }
func port(machine string) string     { return "p" + machine }

// plugIn gives a machine a network of its own and a cable to the switch. It does
// so at each start, because a machine without power answers nothing, and sockets
// of before do not survive in one with new power. Its hardware address stays, so
// that nobody's neighbour table is wrong.
func plugIn(machine string, addr netip.Addr) error {
	ip := addr.As4()
	mac := net.HardwareAddr{2, 0, ip[0], ip[1], ip[2], ip[3]}
	ns, p := netSpace(machine), port(machine)
	return all(
		"ip netns add "+ns,
		fmt.Sprintf("ip link add eth0 netns %s address %s type veth peer name %s netns %s", ns, mac, p, switchSpace),
		"ip -n "+switchSpace+" link set "+p+" master br0 up",
		"ip -n "+ns+" link set lo up",
		"ip -n "+ns+" addr add "+addr.String()+"/24 dev eth0",
		"ip -n "+ns+" link set eth0 up",
	)
}

// unplug takes both away; the cable first, so that nothing dying says goodbye.
func unplug(machine string) error {
	if !exists(namespaces + "/" + netSpace(machine)) {
		return nil
	}
	return all(
		"ip -n "+switchSpace+" link del "+port(machine),
		"ip netns del "+netSpace(machine),
	)
}

// cable sets the switch's end of a machine's cable up or down.
func cable(machine, state string) error {
	return all("ip -n " + switchSpace + " link set " + port(machine) + " " + state)
}

// removeNetwork removes whatever there is of a lab's network.
func removeNetwork() error {
	var errs []error
	spaces, err := os.ReadDir(namespaces)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	if _, err := net.InterfaceByName(boxLink); err == nil {
		errs = append(errs, all("ip link del "+boxLink))
	}
	for _, s := range spaces {
		if s.Name() == switchSpace || strings.HasPrefix(s.Name(), switchSpace+"-") {
			errs = append(errs, all("ip netns del "+s.Name()))
		}
	}
	routes, err := command("ip", "route", "show", "type", "blackhole", wholeRange)
	errs = append(errs, err)
	if routes != "" {
		errs = append(errs, all("ip route del blackhole "+wholeRange+" metric 4000"))
	}
	return errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
