package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
	"cke/internal/gateway"
	"cke/internal/host"
)

// gateways keeps the one gateway that a machine with systemd may have.
type gateways struct {
	*services
	program string // what is copied to be the gateway's program
}

// gatewayRecord is what is known of the installed program.
type gatewayRecord struct {
	Version int   `json:"version"` // what it speaks
	Size    int64 `json:"size"`
}

// How long a gateway may take to answer, and to go by a list it was given.
const (
	gatewayAnswer = time.Second
	gatewayFollow = 10 * time.Second
	gatewayPoll   = 5 * time.Millisecond
)

func (g *gateways) recordPath() string { return filepath.Join(g.layout.host(), "gateway.json") }

// put writes the list first, for it is by the list that a gateway is known to be
// here, and ends when the running gateway goes by it. It may be killed anywhere:
// what a process runs with is read from the process.
func (g *gateways) put(ctx context.Context, want cluster.Gateway) error {
	if err := g.vacant(ctx, want.Cluster); err != nil {
		return err
	}
	now, err := g.look(ctx, gatewayService)
	if err != nil {
		return fmt.Errorf("look at unit %s: %w", gatewayService, err)
	}
	if err := g.portFree(want.Port, now); err != nil {
		return err
	}
	if err := g.writeList(want); err != nil {
		return err
	}
	g.reached("gateway:list")
	report, answers := g.report(ctx, now)
	if err := g.installProgram(answers && report.Version < gateway.ProtocolVersion); err != nil {
		return err
	}
	g.reached("gateway:program")
	file, err := g.gatewayFile(want.Cluster)
	if err != nil {
		return err
	}
	if err := g.writeUnit(ctx, file); err != nil {
		return err
	}
	g.reached("gateway:unit")
	stale, err := g.stale(now, file)
	if err != nil {
		return err
	}
	if now.running && !stale && answers && follows(report, want) {
		return nil
	}
	return g.follow(ctx, now, stale, want)
}

// vacant refuses what is not CKE's, or is another cluster's.
func (g *gateways) vacant(ctx context.Context, c string) error {
	foreign, err := g.foreignUnit(ctx)
	if err != nil {
		return err
	}
	if foreign != "" {
		return refuse(host.Overridden, "%s: remove it, and CKE installs its own", foreign)
	}
	installed, err := g.clusters()
	if err != nil {
		return err
	}
	for _, other := range installed {
		if other != c {
			return refuse(host.InUse, "the machine's gateway leads to cluster %s; there is one a machine: take it out of that cluster's spec first", other)
		}
	}
	return nil
}

// foreignUnit says why the gateway's unit is not CKE's; empty when it is, or is
// not there.
func (g *gateways) foreignUnit(ctx context.Context) (string, error) {
	path := g.pathOf(gatewayService)
	if to, err := os.Readlink(path); err == nil {
		return fmt.Sprintf("%s is a link to %s: unit %s is masked, or another's", path, to, gatewayService), nil
	}
	text, err := os.ReadFile(path)
	if err == nil {
		if _, ours := gatewayOfFile(string(text)); !ours {
			return fmt.Sprintf("unit %s is there and is not CKE's", path), nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	p, err := g.bus.unit(ctx, gatewayService)
	if err != nil {
		return "", fmt.Errorf("look at unit %s: %w", gatewayService, err)
	}
	from := p.text("FragmentPath")
	if p.text("LoadState") == "masked" || from != "" && from != path {
		return fmt.Sprintf("unit %s is read from %s and is not CKE's", gatewayService, from), nil
	}
	return "", nil
}

// clusters are those that a gateway was installed for: one, unless somebody else
// had a hand in it.
func (g *gateways) clusters() ([]string, error) {
	lists, err := names(g.layout.gatewayLists())
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range lists {
		if c, ok := strings.CutSuffix(n, ".json"); ok && checkCluster(c) == nil {
			out = append(out, c)
		}
	}
	text, err := os.ReadFile(g.pathOf(gatewayService))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if c, ours := gatewayOfFile(string(text)); ours && !slices.Contains(out, c) {
		out = append(out, c)
	}
	return out, nil
}

// portFree refuses a port on which somebody but the gateway listens. A gateway
// listens on both addresses of loopback.
func (g *gateways) portFree(port uint16, now look) error {
	for _, addr := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		at := netip.AddrPortFrom(addr, port)
		busy, err := portBusy(at)
		if err != nil {
			return err
		}
		if !busy {
			continue
		}
		who, err := listenerOf(at)
		if err != nil {
			return err
		}
		if who.pid == 0 || now.running && who.pid == now.pid || g.isProgram(who.pid) {
			continue // it has just ended, or is the gateway
		}
		return refuse(host.PortInUse, "%s is in use by process %d (%s): end it, or set another gateway_port", at, who.pid, who.name)
	}
	return nil
}

// isProgram says whether a process runs the gateway's program, or one that was
// there before.
func (g *gateways) isProgram(pid int) bool {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return err == nil && strings.TrimSuffix(exe, " (deleted)") == g.layout.gatewayProgram()
}

func (g *gateways) writeList(want cluster.Gateway) error {
	path := g.layout.gatewayList(want.Cluster)
	b, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	b = append(b, '\n')
	if old, err := os.ReadFile(path); err == nil && string(old) == string(b) {
		return nil
	}
	if err := mkdirsPublic(filepath.Dir(path)); err != nil {
		return err
	}
	if err := passAbove(g.layout.root, path); err != nil {
		return err
	}
	return writeAtomic(path, b, 0o644)
}

// installProgram copies the helper's program, if there is none in its place or
// one that speaks an older language. A newer helper alone is no reason: it would
// break connections for nothing.
func (g *gateways) installProgram(old bool) error {
	path := g.layout.gatewayProgram()
	outdated, err := g.outdated()
	if err != nil || !old && !outdated {
		return err
	}
	if err := mkdirsPublic(filepath.Dir(path)); err != nil {
		return err
	}
	if err := passAbove(g.layout.root, path); err != nil {
		return err
	}
	size, err := copyProgram(g.program, path)
	if err != nil {
		return fmt.Errorf("install the gateway's program: %w", err)
	}
	return writeJSON(g.recordPath(), gatewayRecord{Version: gateway.ProtocolVersion, Size: size})
}

// outdated says that the installed program is not to be used.
func (g *gateways) outdated() (bool, error) {
	var rec gatewayRecord
	if _, err := readJSON(g.recordPath(), &rec); err != nil {
		return false, err
	}
	info, err := os.Lstat(g.layout.gatewayProgram())
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	uid, _, err := ownerOf(g.layout.gatewayProgram())
	return rec.Version < gateway.ProtocolVersion || info.Size() != rec.Size || info.Mode() != 0o755 || uid != 0, err
}

// programTmp is fixed, so that what a crash leaves is taken away the next time.
const programTmp = ".cke-gateway.new"

func copyProgram(from, to string) (size int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }() // nothing was written
	tmp := filepath.Join(filepath.Dir(to), programTmp)
	if err := remove(tmp); err != nil {
		return 0, err
	}
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(0o755)
	}
	if err == nil {
		err = out.Sync()
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(tmp, to); err != nil {
		return 0, err
	}
	return size, syncDir(filepath.Dir(to))
}
