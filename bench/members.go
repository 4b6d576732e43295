package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// handMade are three etcds started by hand.
type handMade struct {
	dir  string
	net  string // the first three bytes of the members' addresses
	root *tls.Config
	cmds []*exec.Cmd
}

func (h *handMade) address(i int) string { return fmt.Sprintf("%s.%d", h.net, i+1) }

func (h *handMade) name(i int) string { return fmt.Sprintf("n%d", i+1) }

func (h *handMade) pki(i int) string { return filepath.Join(h.dir, h.name(i), "pki") }

func (h *handMade) endpoints() []string {
	var out []string
	for i := range 3 {
		out = append(out, fmt.Sprintf("https://%s:2379", h.address(i)))
	}
	return out
}

// prepare makes certificates and directories: all that is ready beforehand.
func (h *handMade) prepare() (err error) {
	pki := map[string]net.IP{}
	for i := range 3 {
		pki[h.pki(i)] = net.ParseIP(h.address(i))
	}
	h.root, err = writeFiles(pki)
	return err
}

// flags of member i.
func (h *handMade) flags(i int) []string {
	var peers []string
	for j := range 3 {
		peers = append(peers, fmt.Sprintf("%s=https://%s:2380", h.name(j), h.address(j)))
	}
	return floorMember{
		name: h.name(i), address: h.address(i), local: h.address(i), pki: h.pki(i),
		data: filepath.Join(h.dir, h.name(i), "data"),
		log: []string{
			"--log-outputs=" + filepath.Join(h.dir, h.name(i), "etcd.log"),
			"--enable-log-rotation=true",
			`--log-rotation-config-json={"maxsize":16,"maxage":0,"maxbackups":2,"localtime":false,"compress":false}`,
		},
		peers: peers, state: "new",
	}.flags()
}

// floorMember is a member set up by hand.
type floorMember struct {
	name, address string
	local         string // where what is not for others listens
	pki, data     string // directories
	log           []string
	peers         []string
	state         string // of the initial cluster
}

// flags are those of a member CKE runs; compareFlags holds them equal.
func (m floorMember) flags() []string {
	pki := func(name string) string { return filepath.Join(m.pki, name) }
	return slices.Concat([]string{
		"--name=" + m.name,
		"--data-dir=" + m.data,
		"--listen-client-urls=https://" + m.address + ":2379",
		"--advertise-client-urls=https://" + m.address + ":2379",
		"--listen-client-http-urls=https://" + m.local + ":2382",
		"--listen-metrics-urls=http://" + m.local + ":2381",
		"--listen-peer-urls=https://" + m.address + ":2380",
		"--initial-advertise-peer-urls=https://" + m.address + ":2380",
		"--cert-file=" + pki("server.crt"),
		"--key-file=" + pki("server.key"),
		"--trusted-ca-file=" + pki("client-ca.crt"),
		"--client-cert-auth=true",
		"--client-crl-file=" + pki("client.crl"),
		"--peer-cert-file=" + pki("peer.crt"),
		"--peer-key-file=" + pki("peer.key"),
		"--peer-trusted-ca-file=" + pki("peer-ca.crt"),
		"--peer-client-cert-auth=true",
		"--enable-grpc-gateway=false",
		"--strict-reconfig-check=true",
		"--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true",
		"--auto-compaction-mode=periodic",
		"--auto-compaction-retention=5m",
		"--quota-backend-bytes=8589934592",
		"--logger=zap",
	}, m.log, []string{
		"--initial-cluster-state=" + m.state,
		"--initial-cluster-token=floor",
		"--initial-cluster=" + strings.Join(m.peers, ","),
	})
}

// order is how three members are started by hand.
type order string

const (
	// atOnce is the obvious way. A founding etcd first asks its peers, one after
	// the other and 1 s each, whether it is a member already
	// (etcdserver.isMemberBootstrapped). A peer that listens but does not serve
	// yet, because it asks as well, lets it wait.
	atOnce order = "at once"
	// oneFirst starts the member that the others ask first, the lowest peer URL,
	// and the others when it has passed that question: nobody waits. It is the
	// fastest start by hand that we know.
	oneFirst order = "one first"
)

// start starts all three without waiting for quorum.
func (h *handMade) start(ctx context.Context, etcd string, how order) error {
	for i := range 3 {
		cmd := exec.Command(etcd, h.flags(i)...)
		cmd.Env = []string{}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start %s: %w", h.name(i), err)
		}
		h.cmds = append(h.cmds, cmd)
		if i > 0 || how == atOnce {
			continue
		}
		if err := h.hasWAL(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// hasWAL returns when a member has written its first log file, which it does
// when it has asked its peers.
func (h *handMade) hasWAL(ctx context.Context, i int) error {
	wal := filepath.Join(h.dir, h.name(i), "data/member/wal")
	for {
		_, err := os.Stat(wal)
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("wait for %s: %w", wal, err)
		}
	}
}

// stop kills the members and removes their data.
func (h *handMade) stop() error {
	var errs []error
	for _, cmd := range h.cmds {
		errs = append(errs, cmd.Process.Kill())
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.RemoveAll(h.dir))...)
}

// memberProcess is a running etcd and its command line.
type memberProcess struct {
	pid  int
	argv []string
}

// membersUnder finds the etcds whose data lies under dir: those cke started,
// which outlive it.
func membersUnder(dir string) ([]memberProcess, error) {
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var out []memberProcess
	for _, path := range found {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		argv := strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
		for _, arg := range argv {
			if !strings.HasPrefix(arg, "--data-dir="+dir+"/") {
				continue
			}
			var pid int
			if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err != nil {
				return nil, err
			}
			out = append(out, memberProcess{pid, argv})
		}
	}
	return out, nil
}

// kill ends a process of ours; it is no error if it is gone.
func (p memberProcess) kill() error {
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill etcd %d: %w", p.pid, err)
	}
	return nil
}

// compareFlags says in which flags a member CKE runs differs from the floor's.
// Paths, names and tokens must differ and are not compared.
func compareFlags(cke, floor []string) []string {
	own := []string{"name", "data-dir", "log-outputs", "initial-cluster", "initial-cluster-token", "initial-cluster-state"}
	read := func(argv []string) map[string]string {
		m := map[string]string{}
		for _, a := range argv {
			k, v, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
			if strings.HasSuffix(k, "-file") || strings.HasSuffix(k, "-urls") {
				v = "…"
			}
			m[k] = v
		}
		for _, k := range own {
			delete(m, k)
		}
		return m
	}
	quote := func(v string, set bool) string {
		if !set {
			return "not set"
		}
		return strconv.Quote(v)
	}
	a, b := read(cke), read(floor)
	all := maps.Clone(a)
	maps.Copy(all, b)
	var diff []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		v, inA := a[k]
		w, inB := b[k]
		if v != w || inA != inB {
			diff = append(diff, fmt.Sprintf("--%s: cke %s, floor %s", k, quote(v, inA), quote(w, inB)))
		}
	}
	return diff
}
