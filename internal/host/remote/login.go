package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// errShown ends a handshake that only wanted to see the key.
var errShown = errors.New("the key was shown")

// dial opens a TCP connection on which unacknowledged data is given up in time.
func (l *link) dial(ctx context.Context) (*heardConn, error) {
	d := net.Dialer{
		Timeout:         l.o.clock.dial,
		KeepAliveConfig: net.KeepAliveConfig{Enable: false}, // SSH's own asks the machine, not its kernel
		Control: func(_, _ string, c syscall.RawConn) error {
			var set error
			err := c.Control(func(fd uintptr) {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(l.o.clock.silence.Milliseconds()))
			})
			return errors.Join(err, set)
		},
	}
	c, err := d.DialContext(ctx, "tcp", l.to.address.String())
	if err != nil {
		return nil, undialled(err)
	}
	return newHeardConn(c), nil
}

// undialled is why, without what was dialled: who calls says that.
func undialled(err error) error {
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case errors.As(err, &call):
		return call.Err
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// handshake connects and logs in. The key the machine showed is returned with
// an error too, if it came to that.
func (l *link) handshake(ctx context.Context, cfg *ssh.ClientConfig) (*ssh.Client, *heardConn, error) {
	nc, err := l.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() }) // ends what waits on it
	defer stop()
	if err := nc.SetDeadline(time.Now().Add(l.o.clock.login)); err != nil {
		return nil, nil, errors.Join(err, nc.Close())
	}
	cfg.ClientVersion = "SSH-2.0-cke"
	c, chans, reqs, err := ssh.NewClientConn(nc, l.to.address.String(), cfg)
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = nc.Close() // it is given up
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			err = fmt.Errorf("the handshake is not over after %s: the machine may hang", l.o.clock.login)
		}
		return nil, nil, err
	}
	return ssh.NewClient(c, chans, reqs), nc, nil
}

// login connects with the right host key and one of the identities.
func (l *link) login(ctx context.Context) (*ssh.Client, *heardConn, error) {
	id, err := l.identities(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer id.close()
	k, err := l.known(ctx)
	if err != nil {
		return nil, nil, err
	}
	algorithms := k.algorithms()
	var wrong error // of the first key shown
	for {
		var shown ssh.PublicKey
		var refusal error
		client, nc, err := l.handshake(ctx, &ssh.ClientConfig{
			User:              l.to.user,
			Auth:              []ssh.AuthMethod{ssh.PublicKeys(id.signers...)},
			HostKeyAlgorithms: algorithms,
			HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
				shown, refusal = key, k.check(remote, key)
				return refusal
			},
		})
		if refusal != nil && wrong == nil {
			wrong = refusal
		}
		switch {
		case err == nil:
			return client, nc, nil
		case refusal != nil && k.fingerprint != "":
			// The key may be one of another type: ask for it.
			own := typeOf(shown).algorithms
			algorithms = slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return slices.Contains(own, a) })
			if len(algorithms) > 0 {
				continue
			}
			return nil, nil, wrong
		case wrong != nil:
			return nil, nil, wrong
		case shown != nil && strings.Contains(err.Error(), "unable to authenticate"), shown != nil && strings.Contains(err.Error(), "disconnect"):
			return nil, nil, l.refused(id, err)
		case lacks(err):
			return nil, nil, l.lostKey(ctx, k, err)
		}
		return nil, nil, fmt.Errorf("connect to %s: %w", l.to, err)
	}
}

// lacks says whether the machine has no key of the types asked for.
func lacks(err error) bool {
	var n *ssh.AlgorithmNegotiationError
	return errors.As(err, &n) && n.What == "host key"
}

// lostKey: the machine no longer has a key of the type that is known. Which it
// shows now is part of the message.
func (l *link) lostKey(ctx context.Context, k known, err error) error {
	if k.from == "" && k.file == nil {
		return fmt.Errorf("connect to %s: %w", l.to, err)
	}
	key, showErr := l.shown(ctx, allAlgorithms())
	if showErr != nil {
		return fmt.Errorf("connect to %s: %w", l.to, err)
	}
	if bad := k.check(l.netAddr(), key); bad != nil {
		return bad
	}
	return fmt.Errorf("connect to %s: %w", l.to, err)
}

func (l *link) netAddr() net.Addr { return net.TCPAddrFromAddrPort(l.to.address) }

// shown is the key the machine shows when asked for these algorithms.
func (l *link) shown(ctx context.Context, algorithms []string) (ssh.PublicKey, error) {
	var key ssh.PublicKey
	_, _, err := l.handshake(ctx, &ssh.ClientConfig{
		User:              l.to.user,
		HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			key = k
			return errShown
		},
	})
	if key != nil {
		return key, nil
	}
	return nil, fmt.Errorf("ask %s for its host key: %w", l.to.address, err)
}
