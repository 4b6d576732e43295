// Package sshtest is an SSH server for tests, inside the test's own process. It
// lets in whoever shows the key it made, and runs what the test says, really,
// as a child process at the channel's ends: no sshd and no user is needed.
package sshtest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"cke/internal/cluster"
)

// Options for Start.
type Options struct {
	// HostKeys are the types of its host keys: ed25519, ecdsa, rsa. None: ed25519.
	HostKeys []string
	// Run makes of a command what is run in its place: a forced command ignores it.
	Run func(user, command string) *exec.Cmd
	// Authority signs its host keys: it shows certificates then.
	Authority ssh.Signer
	// Refuse lets nobody in.
	Refuse bool
	// Mute lets people in and answers nothing they ask for.
	Mute bool
	// Like is a server whose identity is let in here too.
	Like *Server
	// Address is where it listens, as after another one was closed; else any.
	Address netip.AddrPort
}

// Server is one machine's SSH server.
type Server struct {
	o        Options
	config   *ssh.ServerConfig
	listener net.Listener
	keys     []ssh.Signer
	identity any // the private key of who may log in
	accepted atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// Start listens on a port of 127.0.0.1.
func Start(o Options) (*Server, error) {
	s := &Server{o: o, conns: map[net.Conn]bool{}}
	if len(o.HostKeys) == 0 {
		s.o.HostKeys = []string{"ed25519"}
	}
	private, err := newKey("ed25519")
	if err != nil {
		return nil, err
	}
	if o.Like != nil {
		private = o.Like.identity
	}
	mine, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, fmt.Errorf("use a new key: %w", err)
	}
	s.identity = private
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if o.Refuse || string(key.Marshal()) != string(mine.PublicKey().Marshal()) {
			return nil, errors.New("not this key")
		}
		return nil, nil
	}}
	if err := s.makeHostKeys(); err != nil {
		return nil, err
	}
	at := "127.0.0.1:0"
	if o.Address.IsValid() {
		at = o.Address.String()
	}
	if s.listener, err = net.Listen("tcp", at); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *Server) makeHostKeys() error {
	for _, kind := range s.o.HostKeys {
		private, err := newKey(kind)
		if err != nil {
			return err
		}
		signer, err := ssh.NewSignerFromKey(private)
		if err == nil && s.o.Authority != nil {
			cert := &ssh.Certificate{
				Key: signer.PublicKey(), CertType: ssh.HostCert, ValidBefore: ssh.CertTimeInfinity,
				ValidPrincipals: []string{"127.0.0.1"},
			}
			if err = cert.SignCert(rand.Reader, s.o.Authority); err == nil {
				signer, err = ssh.NewCertSigner(cert, signer)
			}
		}
		if err != nil {
			return fmt.Errorf("use a new host key: %w", err)
		}
		s.keys = append(s.keys, signer)
		s.config.AddHostKey(signer)
	}
	return nil
}

// NewAuthority is a key that signs host keys.
func NewAuthority() (ssh.Signer, error) {
	private, err := newKey("ed25519")
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

func newKey(kind string) (key any, err error) {
	switch kind {
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = errors.New("it is of no known type")
	}
	if err != nil {
		return nil, fmt.Errorf("make a key of type %s: %w", kind, err)
	}
	return key, nil
}

// Address is where it listens.
func (s *Server) Address() netip.AddrPort {
	a, _ := netip.ParseAddrPort(s.listener.Addr().String()) // it is one of TCP
	return a
}

// Node is this machine, reached as a user.
func (s *Server) Node(user string) cluster.Node {
	return cluster.Node{Address: s.Address().Addr(), Port: s.Address().Port(), Hostname: "cp1", User: user}
}

// Identity is the private key of who may log in, for a key of its own type.
func (s *Server) Identity() any { return s.identity }

// WriteIdentity writes that key to a file of a directory.
func (s *Server) WriteIdentity(dir string) (path string, err error) {
	block, err := ssh.MarshalPrivateKey(s.identity.(ed25519.PrivateKey), "")
	if err != nil {
		return "", fmt.Errorf("encode the identity: %w", err)
	}
	path = filepath.Join(dir, "id_ed25519")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return "", fmt.Errorf("write the identity: %w", err)
	}
	return path, nil
}

// HostKeys are its public keys, as in a public key file, in the order of Options.
func (s *Server) HostKeys() []string {
	var lines []string
	for _, k := range s.keys {
		lines = append(lines, string(ssh.MarshalAuthorizedKey(k.PublicKey())))
	}
	return lines
}

// Fingerprints are those of its host keys.
func (s *Server) Fingerprints() []string {
	var all []string
	for _, k := range s.keys {
		all = append(all, ssh.FingerprintSHA256(k.PublicKey()))
	}
	return all
}

// Accepted is how many have connected so far.
func (s *Server) Accepted() int { return int(s.accepted.Load()) }

// Cut ends all connections there are.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close() // the other end may have been faster
	}
}

// Close ends it and everything it runs.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.Cut()
	s.wg.Wait()
	return err
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return // it is closed
		}
		s.accepted.Add(1)
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *Server) serve(nc net.Conn) {
	defer nc.Close()
	conn, channels, requests, err := ssh.NewServerConn(nc, s.config)
	if err != nil {
		return // the client has seen it too
	}
	s.wg.Go(func() { ssh.DiscardRequests(requests) })
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "only sessions") // the client is gone, or told
			continue
		}
		ch, reqs, err := c.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.session(conn.User(), ch, reqs) })
	}
}

func (s *Server) session(user string, ch ssh.Channel, reqs <-chan *ssh.Request) {
	for r := range reqs {
		if s.o.Mute {
			continue
		}
		var exec struct{ Command string }
		ok := r.Type == "exec" && ssh.Unmarshal(r.Payload, &exec) == nil
		if r.WantReply {
			_ = r.Reply(ok, nil) // the client is gone, or told
		}
		if ok {
			s.wg.Go(func() { s.run(s.o.Run(user, exec.Command), ch) })
		}
	}
}

// run ends a command's input with the channel, as sshd does, and kills nothing.
func (s *Server) run(cmd *exec.Cmd, ch ssh.Channel) {
	defer ch.Close()
	in, err := cmd.StdinPipe()
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_, _ = fmt.Fprintln(ch.Stderr(), err) // the client is gone, or told
		return
	}
	s.wg.Go(func() {
		_, _ = io.Copy(in, ch) // ends with either
		_ = in.Close()
	})
	var failed *exec.ExitError
	code := struct{ Status uint32 }{}
	if errors.As(cmd.Wait(), &failed) {
		code.Status = uint32(max(failed.ExitCode(), 1))
	}
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(&code)) // the client is gone, or told
}
