// Package k8s runs a real Kubernetes control plane beside an etcd cluster, for
// tests and benchmarks: kube-apiserver, kube-controller-manager, CoreDNS and
// kubectl as `make build-kube` builds them. They listen on an address of the lab's
// network and die with the process that started them. Nodes and pods there are
// none; nothing here needs any.
package k8s

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience bounds each wait; it is long because it only matters when something
// is wrong, and the machine may be busy.
const patience = 90 * time.Second

// Plane is a control plane at one address.
type Plane struct {
	dir, bin  string
	addr      netip.Addr
	ca        *authority
	processes []*Process
}

// Etcd is how an API server reaches etcd: URLs, and paths of what it shows there.
type Etcd struct {
	Servers       []string
	CA, Cert, Key string
}

// New prepares a control plane at addr, with an authority of its own, below a
// directory. Nothing is started. bin is where the programs are.
func New(dir, bin string, addr netip.Addr) (*Plane, error) {
	for _, program := range []string{"kube-apiserver", "kube-controller-manager", "kubectl", "coredns"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return nil, fmt.Errorf("find the programs of Kubernetes: %w; run make build-kube first", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("prepare a control plane: %w", err)
	}
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	p := &Plane{dir: dir, bin: bin, addr: addr, ca: ca}
	files, err := ca.files(net.IP(addr.AsSlice()), net.IPv4(127, 0, 0, 1))
	if err != nil {
		return nil, err
	}
	for name, data := range files {
		if err := writeFile(filepath.Join(dir, name), data); err != nil {
			return nil, fmt.Errorf("prepare a control plane: %w", err)
		}
	}
	_, err = p.Kubeconfig("admin", "system:masters")
	return p, err
}

// URL is the API server's.
func (p *Plane) URL() string { return "https://" + netip.AddrPortFrom(p.addr, 6443).String() }

// Dir has the plane's files, logs among them.
func (p *Plane) Dir() string { return p.dir }

// Admin is the kubeconfig of one who may do everything.
func (p *Plane) Admin() string { return filepath.Join(p.dir, "admin.kubeconfig") }

// apiServerFlags are those of an API server whose files are in dir.
func (p *Plane) apiServerFlags(dir string, e Etcd) []string {
	return []string{
		"--advertise-address=" + p.addr.String(), "--bind-address=" + p.addr.String(), "--secure-port=6443",
		"--etcd-servers=" + strings.Join(e.Servers, ","),
		"--etcd-cafile=" + e.CA, "--etcd-certfile=" + e.Cert, "--etcd-keyfile=" + e.Key,
		"--etcd-compaction-interval=0",
		"--client-ca-file=" + filepath.Join(dir, "ca.crt"),
		"--tls-cert-file=" + filepath.Join(dir, "serving.crt"), "--tls-private-key-file=" + filepath.Join(dir, "serving.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + filepath.Join(dir, "tokens.key"),
		"--service-account-signing-key-file=" + filepath.Join(dir, "tokens.key"),
		"--authorization-mode=Node,RBAC", "--service-cluster-ip-range=10.100.0.0/16", "--allow-privileged=true",
	}
}

// StartAPIServer starts one on the box and waits until it is ready.
func (p *Plane) StartAPIServer(ctx context.Context, e Etcd, flags ...string) (*Process, error) {
	s, err := p.start("kube-apiserver", append(p.apiServerFlags(p.dir, e), flags...)...)
	if err != nil {
		return nil, err
	}
	return s, p.Ready(ctx, s)
}

// start runs one of the programs until Close.
func (p *Plane) start(program string, args ...string) (*Process, error) {
	s, err := start(p.dir, filepath.Join(p.bin, program), args...)
	if err != nil {
		return nil, err
	}
	p.processes = append(p.processes, s)
	return s, nil
}

// Ready waits until the API server serves. s may be nil when it runs elsewhere.
func (p *Plane) Ready(ctx context.Context, s *Process) error {
	c, err := p.Client()
	if err != nil {
		return err
	}
	return until(ctx, s, func(ctx context.Context) error { return c.Get(ctx, "/readyz", nil) })
}

// until polls until ask succeeds; it gives up when the process has ended.
func until(ctx context.Context, s *Process, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var ended <-chan struct{}
	if s != nil {
		ended = s.Ended()
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		one, done := context.WithTimeout(ctx, 2*time.Second)
		err := ask(one)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("wait for %s: it has ended; it says\n%s", s.Name, s.lastLines(20))
		case <-ctx.Done():
			return fmt.Errorf("wait for Kubernetes: %w", errors.Join(ctx.Err(), err))
		case <-again.C:
		}
	}
}

// StartControllerManager starts every controller that runs by default.
func (p *Plane) StartControllerManager() (*Process, error) {
	config, err := p.Kubeconfig("system:kube-controller-manager")
	if err != nil {
		return nil, err
	}
	return p.start("kube-controller-manager", "--kubeconfig="+config, "--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=true",
		"--root-ca-file="+filepath.Join(p.dir, "ca.crt"),
		"--service-account-private-key-file="+filepath.Join(p.dir, "tokens.key"))
}

// Kubectl runs it as the administrator, with this standard input, and returns
// what it printed.
func (p *Plane) Kubectl(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "kubectl"), append([]string{"--kubeconfig=" + p.Admin(), "--cache-dir=" + filepath.Join(p.dir, "kubectl")}, args...)...)
	cmd.Dir, cmd.Stdin = p.dir, strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// Logs are the ends of what every program printed, for a test that failed.
func (p *Plane) Logs(lines int) string {
	var b strings.Builder
	for _, s := range p.processes {
		fmt.Fprintf(&b, "-- %s\n%s\n", s.Name, s.lastLines(lines))
	}
	return b.String()
}

// Close ends everything that was started, the last first.
func (p *Plane) Close() {
	for i := len(p.processes) - 1; i >= 0; i-- {
		p.processes[i].Kill()
	}
}
