// Package remote reaches managed machines over SSH. It promises:
//   - One connection per machine, with one channel that runs its helper. Calls
//     share it; it is made again, at growing intervals, when it has ended.
//   - A call whose fate is unknown is never sent a second time.
//   - A machine that is gone without a word is noticed within 10 s: the calls
//     that wait for it end.
//   - Nothing is asked of a machine whose host key is not known, and its key
//     alone decides whether it is.
//   - What is sent as a command is one of three constants: what the machine is
//     asked goes through the helper, in its words (package host).
//   - No private key or its passphrase is in any error or log line.
package remote

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// Options for New.
type Options struct {
	// Identity is the file of a private key. It need not be there when there is
	// an agent.
	Identity string
	// Agent is the socket of an ssh-agent; empty for none.
	Agent string
	// KnownHosts is a file as ssh(1) has them; empty for none. It is only read.
	KnownHosts string
	// Helpers is the directory with the helpers to be installed: cke-host for
	// this machine's architecture, cke-host-linux-ARCH for others.
	Helpers string
	// Trusted returns the host key a person trusted for an address and port, as
	// a line of a public key file; empty for none.
	Trusted func(ctx context.Context, address string) (string, error)
	// Version is that of this program, for where there is no helper to compare.
	Version string
	// Caller is who calls: every request carries it.
	Caller func() host.Identity
	Log    *slog.Logger
	// clock is for tests; zero is the right one.
	clock clock
	// libexec is where uploaded helpers lie on a machine; tests have one of their own.
	libexec string
}

// clock is how long things may take.
type clock struct {
	dial, login, greet, upload time.Duration
	// ping is between two keepalives, silence how long nothing may come.
	ping, silence time.Duration
	// first and most are the shortest and longest time between two attempts.
	first, most time.Duration
	// idle ends a connection nobody uses.
	idle time.Duration
}

func (c clock) orDefault() clock {
	if c != (clock{}) {
		return c
	}
	return clock{
		dial: 10 * time.Second, login: 10 * time.Second, greet: 15 * time.Second, upload: 2 * time.Minute,
		// Noticed in less than 10 s: silence and the second between two looks.
		ping: 3 * time.Second, silence: 8 * time.Second,
		// sshd of OpenSSH 9.8 and later shuts out who knocks in vain too often
		// (PerSourcePenalties: 5 s for a login refused, once there are 15 s).
		first: 250 * time.Millisecond, most: 8 * time.Second,
		idle: 5 * time.Minute,
	}
}

// look is between two looks at whether a machine is silent.
func (c clock) look() time.Duration { return min(time.Second, c.ping) }

// tooSilent says whether a machine is, so long after the look before. A look that comes
// late says nothing: cke itself stood still, and what came meanwhile is not read yet.
func (c clock) tooSilent(silent, since time.Duration) bool {
	return silent > c.silence && since < c.look()+c.silence/4
}

// libexecDir is where cke puts helpers as root, each under its own checksum.
const libexecDir = "/opt/cke/libexec"

// access is all that decides how a machine is reached.
type access struct {
	address netip.AddrPort
	user    string
	hostKey string
}

const defaultPort = 22

func accessOf(n cluster.Node) access {
	port := n.Port
	if port == 0 {
		port = defaultPort
	}
	return access{address: netip.AddrPortFrom(n.Address.Unmap(), port), user: n.User, hostKey: n.HostKey}
}

// Address is where a node's sshd listens: its host key is kept under it.
func Address(n cluster.Node) string { return accessOf(n).address.String() }

// Login is how a node is reached, for people: user@address:port.
func Login(n cluster.Node) string { return accessOf(n).String() }

func (a access) String() string { return a.user + "@" + a.address.String() }

// ssh is the beginning of a command line for a person, program being ssh or scp.
func (a access) portFlag(flag string) string {
	if a.address.Port() == defaultPort {
		return ""
	}
	return " " + flag + " " + strconv.Itoa(int(a.address.Port()))
}

// scpTarget is the machine in scp's words.
func (a access) scpTarget() string {
	if a.address.Addr().Is6() {
		return "[" + a.address.Addr().String() + "]"
	}
	return a.address.Addr().String()
}

// Hosts are the machines reached over SSH. It is safe for concurrent use.
type Hosts struct {
	o       Options
	helpers *helpers

	mu     sync.Mutex
	closed bool
	hosts  map[access]*machine
}

// machine is one of them.
type machine struct {
	link *link
	host *host.Client
}

// New returns the machines; none is reached before it is called.
func New(o Options) *Hosts {
	o.clock = o.clock.orDefault()
	if o.libexec == "" {
		o.libexec = libexecDir
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Hosts{o: o, helpers: newHelpers(o.Helpers), hosts: map[access]*machine{}}
}

// Host returns the way to a node's machine. Nodes with the same user, address,
// port and host key share a connection. Close it with Keep or Close.
func (h *Hosts) Host(n cluster.Node) (host.Host, error) {
	m, err := h.machine(n)
	if err != nil {
		return nil, err
	}
	return m.host, nil
}

func (h *Hosts) machine(n cluster.Node) (*machine, error) {
	to := accessOf(n)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed
	}
	if m, ok := h.hosts[to]; ok {
		return m, nil
	}
	l := newLink(h.o, h.helpers, to)
	m := &machine{link: l, host: host.NewClient(l, h.o.Caller, l.close)}
	h.hosts[to] = m
	return m, nil
}

// Retry makes the next call try at once, whatever failed before.
func (h *Hosts) Retry(n cluster.Node) {
	h.mu.Lock()
	m := h.hosts[accessOf(n)]
	h.mu.Unlock()
	if m != nil {
		m.link.retry()
	}
}

// Keep ends the connections to all machines but those of these nodes.
func (h *Hosts) Keep(nodes []cluster.Node) error {
	keep := map[access]bool{}
	for _, n := range nodes {
		keep[accessOf(n)] = true
	}
	return h.drop(func(a access) bool { return !keep[a] })
}

// Close ends all connections and returns when nothing of them is left.
func (h *Hosts) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	return h.drop(func(access) bool { return true })
}

func (h *Hosts) drop(which func(access) bool) error {
	h.mu.Lock()
	var gone []*machine
	for a, m := range h.hosts {
		if which(a) {
			gone = append(gone, m)
			delete(h.hosts, a)
		}
	}
	h.mu.Unlock()
	var errs []error
	for _, m := range gone {
		errs = append(errs, m.host.Close())
	}
	return errors.Join(errs...)
}
