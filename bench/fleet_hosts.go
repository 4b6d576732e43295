package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/crypto/ssh"

	"cke/internal/host"
)

// fleetSSH is the port of all simulated machines' SSH servers.
const fleetSSH = 4822

// loginKeys are the one host key of all simulated machines and the one key that
// they let in.
type loginKeys struct {
	host        ssh.Signer
	fingerprint string
	client      ssh.PublicKey
	file        string // the private one
}

func newLogin(dir string) (k loginKeys, err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return k, err
	}
	if k.host, err = ssh.NewSignerFromKey(private); err != nil {
		return k, err
	}
	k.fingerprint = ssh.FingerprintSHA256(k.host.PublicKey())
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return k, err
	}
	if k.client, err = ssh.NewPublicKey(public); err != nil {
		return k, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return k, err
	}
	k.file = filepath.Join(dir, "id")
	return k, os.WriteFile(k.file, pem.EncodeToMemory(block), 0o600)
}

// sshEnd is what answers SSH for all simulated machines.
type sshEnd struct {
	w        *world
	config   *ssh.ServerConfig
	greeting host.Greeting
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// listen answers on every address of this machine: which one was called says
// which simulated machine is meant.
func (w *world) listen(o options) (*sshEnd, error) {
	g, err := helperOf(o)
	if err != nil {
		return nil, err
	}
	s := &sshEnd{w: w, greeting: g, conns: map[net.Conn]bool{}}
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(w.login.client.Marshal()) {
			return nil, errors.New("another key")
		}
		return &ssh.Permissions{}, nil
	}}
	s.config.AddHostKey(w.login.host)
	if s.listener, err = net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", fleetSSH)); err != nil {
		return nil, err
	}
	s.wg.Go(s.accept)
	return s, nil
}

// helperOf is how the helper that cke would install greets.
func helperOf(o options) (host.Greeting, error) {
	program, err := os.ReadFile(filepath.Join(o.bin, "cke-host-linux-"+runtime.GOARCH))
	sum := sha256.Sum256(program)
	return host.Greeting{Version: "devel", Arch: runtime.GOARCH, Sum: hex.EncodeToString(sum[:])}, err
}

func (s *sshEnd) close() error {
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // what is under way ends
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func (s *sshEnd) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			_ = c.Close() // it has ended
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// serve is one connection: each command is the helper.
func (s *sshEnd) serve(c net.Conn) {
	local, err := netip.ParseAddrPort(c.LocalAddr().String())
	m := s.w.members[local.Addr().Unmap()]
	if err != nil || m == nil {
		return // nobody's address
	}
	_, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return // cke says why
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for r := range requests {
			_ = r.Reply(false, nil) // a keepalive; one that cannot be answered ends soon
		}
	})
	for n := range channels {
		ch, requests, err := n.Accept()
		if err != nil {
			return // it has ended
		}
		wg.Go(func() {
			for r := range requests {
				_ = r.Reply(r.Type == "exec", nil) // as above
				if r.Type == "exec" {
					wg.Go(func() { s.helper(m, ch) })
				}
			}
		})
	}
}

func (s *sshEnd) helper(m *simulated, ch ssh.Channel) {
	_ = host.ServeStdio(context.Background(), ch, ch, s.greeting, m, slog.New(slog.DiscardHandler)) // ends with the connection
}

// ServeHTTP answers as the helper on a machine where all is well.
func (m *simulated) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/" + host.VerbFacts:
		out.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(out).Encode(m.facts) // who asked may be gone
	case "/v1/" + host.VerbWaitUnit:
		_, _ = io.Copy(io.Discard, r.Body) // the question is known
		<-r.Context().Done()
	default:
		http.Error(out, "a simulated machine changes nothing", http.StatusNotImplemented)
	}
}
