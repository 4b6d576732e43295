package agent

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listener is who listens on a port; no pid when nobody was found.
type listener struct {
	pid  int
	name string
}

// listenerOf finds who listens on an address, or on all of them.
func listenerOf(ap netip.AddrPort) (listener, error) {
	var inodes []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if errors.Is(err, fs.ErrNotExist) {
			continue // without IPv6
		}
		if err != nil {
			return listener{}, err
		}
		found, err := listening(string(b), ap)
		if err != nil {
			return listener{}, fmt.Errorf("read %s: %w", table, err)
		}
		inodes = append(inodes, found...)
	}
	if len(inodes) == 0 {
		return listener{}, nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return listener{}, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !hasSocket(pid, inodes) {
			continue
		}
		comm, err := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		if err != nil {
			continue // it has just ended
		}
		return listener{pid, strings.TrimSpace(string(comm))}, nil
	}
	return listener{}, nil
}

// listening are the inodes of the sockets in a table of the kernel's
// (proc_pid_net(5)) that listen on an address.
func listening(table string, ap netip.AddrPort) ([]string, error) {
	const listen = "0A"
	var out []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != listen {
			continue
		}
		at, err := parseSocketAddress(f[1])
		if err != nil {
			return nil, err
		}
		if a := at.Addr().Unmap(); at.Port() == ap.Port() && (a == ap.Addr() || at.Addr().IsUnspecified()) {
			out = append(out, f[9])
		}
	}
	return out, nil
}

// parseSocketAddress reads 0100007F:306B: words of four bytes, each in the
// machine's order, which is the lowest byte first where CKE runs.
func parseSocketAddress(s string) (netip.AddrPort, error) {
	addr, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	a, ok := netip.AddrFromSlice(b)
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("%.80q is no address", s)
	}
	return netip.AddrPortFrom(a, uint16(p)), nil
}

func hasSocket(pid int, inodes []string) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	fds, err := names(dir)
	if err != nil {
		return false // another user's, or it has just ended
	}
	for _, fd := range fds {
		to, err := os.Readlink(filepath.Join(dir, fd))
		inode, ok := strings.CutPrefix(to, "socket:[")
		if err == nil && ok && slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
			return true
		}
	}
	return false
}
