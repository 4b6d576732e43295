package remote

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/host/remote/sshtest"
)

// newAgent is an ssh-agent that holds these keys.
func newAgent(t testing.TB, keys ...any) (socket string) {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		must(t, ring.Add(agent.AddedKey{PrivateKey: k}))
	}
	socket = filepath.Join(t.TempDir(), "a")
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, c) }()
		}
	}()
	return socket
}

func newPrivate(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

func TestIdentityOfTheAgent(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{Run: forced(t.TempDir())})
	for name, change := range map[string]func(o *Options){
		"alone":                    func(o *Options) { o.Identity = "" },
		"the file is not there":    func(o *Options) { o.Identity = "/nonexistent/id" },
		"the file is not let in":   func(o *Options) { o.Identity = keyFile(t, newPrivate(t), "", 0o600) },
		"the file is, the agent's": func(o *Options) { o.Agent = newAgent(t, newPrivate(t)) },
		"the file is, no agent":    func(o *Options) { o.Agent = "/nonexistent/agent" },
	} {
		o := m.options(t)
		o.Agent = newAgent(t, newPrivate(t), m.Identity())
		change(&o)
		_, h := reach(t, o, m.Node("cke"))
		if _, err := facts(t.Context(), h); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func keyFile(t testing.TB, key ed25519.PrivateKey, passphrase string, mode os.FileMode) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	must(t, err)
	path := filepath.Join(t.TempDir(), "id")
	must(t, os.WriteFile(path, pem.EncodeToMemory(block), mode))
	return path
}

func TestLoginRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sshtest.Options{Run: forced(t.TempDir())})
	stranger := newPrivate(t)
	signer, err := ssh.NewSignerFromKey(stranger)
	must(t, err)
	print := ssh.FingerprintSHA256(signer.PublicKey())
	for name, c := range map[string]struct {
		identity, agent string
		words           []string
	}{
		"wrong key": {keyFile(t, stranger, "", 0o600), "",
			[]string{"does not let cke in", print, "authorized_keys of cke", "ssh-keygen -y -f "}},
		"wrong key of the agent": {"", newAgent(t, stranger), []string{"a key of the ssh-agent (" + print, "ssh-add -L"}},
		"nothing":                {"/nonexistent/id", "", []string{"/nonexistent/id does not exist, no ssh-agent is configured", "ssh-keygen -t ed25519 -N '' -f /nonexistent/id"}},
		"nothing configured":     {"", "", []string{"set ssh.identity or ssh.agent"}},
		"an empty agent":         {"", newAgent(t), []string{"holds no key"}},
		"no agent":               {"", "/nonexistent/agent", []string{"the ssh-agent does not answer"}},
		"readable by others":     {keyFile(t, stranger, "", 0o640), "", []string{"others may read it (mode 0640)", "chmod 600 "}},
		"a passphrase":           {keyFile(t, stranger, "hunter2", 0o600), "", []string{"it has a passphrase", "ssh-add "}},
		"no key":                 {write(t, "not a key"), "", []string{"not a private key"}},
		"a directory":            {t.TempDir(), "", []string{"it is not the file of a key"}},
	} {
		o := m.options(t)
		o.Identity, o.Agent = c.identity, c.agent
		_, h := reach(t, o, m.Node("cke"))
		_, err := facts(t.Context(), h)
		t.Log(name)
		wantTrouble(t, err, cluster.LoginRefused, c.words...)
	}
}

// lockedBuffer is a log that many write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// Whatever goes wrong on the way, nothing secret is in a log line, an error or
// a process's arguments.
func TestNothingSecretIsSaid(t *testing.T) {
	t.Parallel()
	mine := newPrivate(t)
	var log, said lockedBuffer
	see := func(err error) {
		for ; err != nil; err = errors.Unwrap(err) {
			_, _ = said.Write([]byte(err.Error() + "\n"))
			var tr *host.TroubleError
			if errors.As(err, &tr) {
				_, _ = said.Write([]byte(tr.Hint + "\n"))
			}
		}
	}
	root := t.TempDir()
	var mode string
	m := newMachine(t, sshtest.Options{Run: func(_, command string) *exec.Cmd {
		_, _ = said.Write([]byte(command + "\n"))
		if mode == "echo" { // a machine that says back what it is told
			return exec.Command("sh", "-c", "head -c 400; exit 1")
		}
		return forced(root)("", "")
	}})
	const secret = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0IG9mIHNlcnZlcg==\n"
	put := func(h host.Host) {
		err := h.PutFiles(t.Context(), host.PutFiles{Cluster: "main", Files: map[host.FileKind][]byte{
			host.ServerKey: []byte(secret), host.ServerCert: []byte("no certificate"),
		}})
		if err == nil {
			t.Error("a key without its certificate is taken")
		}
		see(err)
	}
	options := func() Options {
		o := m.options(t)
		if o.clock = (clock{}.orDefault()); mode == "echo" { // which greets nobody
			o.clock.greet = 200 * time.Millisecond
		}
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		return o
	}
	_, h := reach(t, options(), m.Node("cke"))
	put(h)
	m.Cut()
	put(h)
	mode = "echo"
	_, h = reach(t, options(), m.Node("ops"))
	put(h)
	for _, path := range []string{keyFile(t, mine, "hunter2", 0o600), keyFile(t, mine, "", 0o644), keyFile(t, mine, "", 0o600)} {
		o := options()
		o.Identity = path
		_, h := reach(t, o, m.Node("cke"))
		put(h)
		file, err := os.ReadFile(path)
		must(t, err)
		text := log.b.String() + said.b.String()
		for line := range strings.Lines(string(file)) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "---") && strings.Contains(text, line) {
				t.Errorf("a line of the identity is said")
			}
		}
	}
	text := log.b.String() + said.b.String()
	for _, s := range []string{"c2VjcmV0", "BEGIN EC", "hunter2"} {
		if strings.Contains(text, s) {
			t.Errorf("%q is said:\n%s", s, text)
		}
	}
	if !strings.Contains(log.b.String(), "host is connected") {
		t.Error("nothing is logged at all")
	}
}
