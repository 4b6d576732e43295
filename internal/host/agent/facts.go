package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	goruntime "runtime"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/host"
)

// maxCounted bounds the files whose sizes are added up.
const maxCounted = 1000

// facts are gathered without a lock and without running anything (but for an
// etcd binary that was never seen before): the loop asks often.
func (a *Agent) facts(ctx context.Context, req host.FactsRequest) (host.Facts, error) {
	if err := checkCluster(req.Cluster); err != nil {
		return host.Facts{}, err
	}
	if req.Address.IsValid() {
		if err := checkAddress(req.Address); err != nil {
			return host.Facts{}, err
		}
	}
	f := host.Facts{Helper: a.helper, Arch: goruntime.GOARCH, Runtime: string(a.kind)}
	for _, part := range []func(context.Context, host.FactsRequest, *host.Facts) error{
		a.machineFacts, a.unitFacts, a.dataFacts, a.fileFacts, a.portFacts, a.clientFacts, a.gatewayFacts,
	} {
		if err := part(ctx, req, &f); err != nil {
			return host.Facts{}, fmt.Errorf("gather facts: %w", err)
		}
	}
	return f, nil
}

func (a *Agent) machineFacts(ctx context.Context, _ host.FactsRequest, f *host.Facts) (err error) {
	if f.Hostname, err = os.Hostname(); err != nil {
		return err
	}
	if f.Boot, err = bootID(); err != nil {
		return err
	}
	if f.Versions, err = a.versions.list(ctx); err != nil {
		return err
	}
	var owner fence
	if _, err = readJSON(a.fencePath(), &owner); err != nil {
		return err
	}
	f.StoreID, f.Epoch, f.Proof = owner.StoreID, owner.Epoch, owner.Proof
	if f.Free, err = freeBytes(a.layout.dataRoot()); err != nil {
		return err
	}
	f.Disk, err = diskOf(a.layout.dataRoot())
	return err
}

func (a *Agent) unitFacts(ctx context.Context, req host.FactsRequest, f *host.Facts) error {
	u, installed, err := a.readUnit(req.Cluster)
	if err != nil {
		return err
	}
	if !installed {
		f.Foreign, err = a.foreign(ctx)
		return err
	}
	st, err := a.runtime.state(ctx, req.Cluster)
	if err != nil {
		return err
	}
	if st.ended != u.Member { // the member before says nothing about this one
		st.exit, st.log = "", ""
	}
	if st.asked.Member != u.Member || !st.asked.SameSettings(u) {
		st.again = 0 // nor do other settings about these
	}
	s, _, err := a.readSeal(req.Cluster, u.Member)
	if err != nil {
		return err
	}
	f.Unit = &cluster.UnitState{
		Unit: u, Running: st.running, Started: st.started, Sealed: s.Sealed, Exit: st.exit, Log: st.log,
		Overridden: st.overridden, Restarts: st.again,
	}
	if f.Unit.StaleCA, err = a.readOthers(req.Cluster, st); err != nil {
		return err
	}
	is, err := a.runtime.installed(u, s.Sealed)
	if f.Unit.Unfinished = !is; err != nil {
		return err
	}
	if f.Unit.NotMounted, err = a.notMounted(s); err != nil || f.Unit.NotMounted != "" || !s.Sealed {
		return err
	}
	d, err := a.inspect(req.Cluster, u.Member)
	if f.Unit.DataLost = !d.wal || !d.mark; err != nil {
		return err
	}
	return a.askJoined(ctx, req.Cluster, f.Unit)
}

func (a *Agent) dataFacts(_ context.Context, req host.FactsRequest, f *host.Facts) error {
	members, err := a.memberDirs(req.Cluster)
	if err != nil {
		return err
	}
	for _, m := range members {
		d, err := a.inspect(req.Cluster, m)
		if err != nil {
			return err
		}
		n, err := dataBytes(a.layout.data(req.Cluster, m))
		if err != nil {
			return err
		}
		f.Data = append(f.Data, cluster.DataDir{Member: m, WAL: d.wal, Mark: d.mark, Bytes: n})
	}
	f.Aside, err = a.asideFacts(req.Cluster)
	return err
}

// memberDirs are the data directories of a cluster; names that are no member
// id are not CKE's.
func (a *Agent) memberDirs(c string) ([]cluster.MemberID, error) {
	found, err := names(a.layout.members(c))
	if err != nil {
		return nil, err
	}
	var out []cluster.MemberID
	for _, n := range found {
		if m, err := cluster.ParseMemberID(n); err == nil {
			out = append(out, m)
		}
	}
	return out, nil
}

func (a *Agent) fileFacts(_ context.Context, req host.FactsRequest, f *host.Facts) error {
	for _, k := range order() {
		path := a.layout.file(req.Cluster, k)
		if cert, isKey := pairs()[k]; isKey {
			fits, err := a.keys.fits(a.layout.file(req.Cluster, cert), path)
			if err != nil {
				return err
			}
			if f.KeyFits == nil {
				f.KeyFits = map[host.FileKind]bool{}
			}
			f.KeyFits[k] = fits
			continue
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if f.Public == nil {
			f.Public = map[host.FileKind][]byte{}
		}
		f.Public[k] = b
	}
	return nil
}

// portFacts leaves the ports of a running member out: they are its own, for
// etcd ends when it cannot have them.
func (a *Agent) portFacts(_ context.Context, req host.FactsRequest, f *host.Facts) error {
	var asked []netip.Addr
	own := netip.Addr{}
	if f.Unit != nil {
		own = f.Unit.Unit.Address
		if !f.Unit.Running {
			asked = append(asked, own)
		}
	}
	if req.Address.IsValid() && req.Address != own {
		asked = append(asked, req.Address)
	}
	for _, port := range []uint16{cluster.ClientPort, cluster.PeerPort} {
		for _, addr := range asked {
			ap := netip.AddrPortFrom(addr, port)
			busy, err := a.answering.busy(ap)
			if err != nil {
				return err
			}
			if busy {
				f.BusyPorts = append(f.BusyPorts, int(port))
				break
			}
		}
	}
	return nil
}

// portBusy says whether something listens on a port. Binding with SO_REUSEADDR
// and never listening takes the port from nobody: an etcd that starts at the
// same instant still gets it.
func portBusy(ap netip.AddrPort) (bool, error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()})
	if a := ap.Addr().Unmap(); a.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: a.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at port %s: %w", ap, err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return false, fmt.Errorf("look at port %s: %w", ap, err)
	}
	err = unix.Bind(fd, sa)
	if err == nil || errors.Is(err, unix.EADDRNOTAVAIL) { // not an address of this machine
		return false, nil
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return true, nil
	}
	return false, fmt.Errorf("look at port %s: %w", ap, err)
}

// freeBytes is the space on the file system of a path or its nearest parent.
func freeBytes(path string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		return freeBytes(filepath.Dir(path))
	}
	if err != nil {
		return 0, fmt.Errorf("look at the space of %s: %w", path, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// dataBytes adds up the files of a data directory where etcd keeps its bulk.
func dataBytes(dir string) (int64, error) {
	var total int64
	counted := 0
	for _, sub := range []string{"member/snap", "member/wal"} {
		found, err := names(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, unix.ENOTDIR) {
			return 0, err
		}
		for _, n := range found {
			if counted++; counted > maxCounted {
				return total, nil
			}
			info, err := os.Lstat(filepath.Join(dir, sub, n))
			if errors.Is(err, fs.ErrNotExist) {
				continue // etcd moves on meanwhile
			}
			if err != nil {
				return 0, err
			}
			total += info.Size()
		}
	}
	return total, nil
}
