package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"cke/internal/cluster"
	"cke/internal/host"
)

// identity is what may log in: the keys, and in words where they come from.
type identity struct {
	signers []ssh.Signer
	tried   []string
	close   func()
}

// maxKeyFile is far more than any private key has.
const maxKeyFile = 64 << 10

// identities loads the key file and asks the agent. At least one key is there
// without an error.
func (l *link) identities(ctx context.Context) (identity, error) {
	id := identity{close: func() {}}
	var without []string
	if path := l.o.Identity; path != "" {
		signer, err := l.keyFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			without = append(without, path+" does not exist")
		case err != nil:
			return id, err
		default:
			id.signers = append(id.signers, signer)
			id.tried = append(id.tried, path+" ("+ssh.FingerprintSHA256(signer.PublicKey())+")")
		}
	}
	if path := l.o.Agent; path == "" {
		without = append(without, "no ssh-agent is configured")
	} else if held, closeAgent, err := agentKeys(ctx, path); err != nil {
		without = append(without, err.Error())
	} else {
		id.close = closeAgent
		id.signers = append(id.signers, held...)
		if len(held) == 0 {
			without = append(without, "the ssh-agent at "+path+" holds no key")
		}
		for _, s := range held {
			id.tried = append(id.tried, "a key of the ssh-agent ("+ssh.FingerprintSHA256(s.PublicKey())+")")
		}
	}
	if len(id.signers) > 0 {
		return id, nil
	}
	id.close()
	return id, &host.TroubleError{
		Trouble: cluster.LoginRefused,
		Message: fmt.Sprintf("there is no SSH key to log in to %s with: %s", l.to, strings.Join(without, ", ")),
		Hint:    l.makeKey(),
	}
}

func (l *link) makeKey() string {
	if l.o.Identity == "" {
		return "set ssh.identity or ssh.agent in cke's configuration"
	}
	return fmt.Sprintf("make one on cke's machine, and put the line of %[1]s.pub into authorized_keys of %[2]s on the host:\n  ssh-keygen -t ed25519 -N '' -f %[1]s\n  ssh-copy-id -i %[1]s.pub%[3]s %[2]s@%[4]s",
		l.o.Identity, l.to.user, l.to.portFlag("-p"), l.to.address.Addr())
}

// keyFile loads a private key. No error says anything of its content.
func (l *link) keyFile(path string) (ssh.Signer, error) {
	unusable := func(why, hint string) error {
		return &host.TroubleError{
			Trouble: cluster.LoginRefused,
			Message: fmt.Sprintf("the SSH identity %s cannot be used for %s: %s", path, l.to, why), Hint: hint,
		}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, unusable(err.Error(), "make it readable for the user cke runs as, and for nobody else")
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, unusable(err.Error(), "")
	case !info.Mode().IsRegular() || info.Size() > maxKeyFile:
		return nil, unusable("it is not the file of a key", "make one with ssh-keygen")
	case info.Mode().Perm()&0o077 != 0:
		return nil, unusable(fmt.Sprintf("others may read it (mode %04o)", info.Mode().Perm()),
			"chmod 600 "+path+"; if others could have read it, make another key")
	}
	text := make([]byte, info.Size())
	if _, err := f.ReadAt(text, 0); err != nil {
		return nil, unusable("it cannot be read", "")
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, unusable("it has a passphrase", "ssh-add "+path+" gives it to an ssh-agent; set ssh.agent in cke's configuration to its socket, and ssh.identity to none")
	case err != nil:
		return nil, unusable("it is not a private key in a known format", "make one with ssh-keygen -t ed25519")
	}
	return signer, nil
}

// agentKeys are those an ssh-agent holds. It signs until the close function is
// called.
func agentKeys(ctx context.Context, socket string) ([]ssh.Signer, func(), error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("the ssh-agent does not answer: %w", err)
	}
	closeAgent := func() { _ = c.Close() } // nothing is left to be sent
	// An agent that does not answer must not hold the attempt up for ever.
	stop := context.AfterFunc(ctx, closeAgent)
	keys, err := agent.NewClient(c).Signers()
	if err != nil {
		stop()
		closeAgent()
		return nil, nil, fmt.Errorf("list the keys of the ssh-agent at %s: %w", socket, err)
	}
	return keys, func() { stop(); closeAgent() }, nil
}

// refused says that the machine took none of the keys.
func (l *link) refused(id identity, said error) error {
	why := "it takes none of cke's keys"
	// Where sshd gives up first there are keys it was never shown.
	if text := said.Error(); strings.Contains(text, "disconnect") || strings.Contains(text, "too many") {
		why = "it gave up before all were tried"
	}
	hint := fmt.Sprintf("put the public key into authorized_keys of %s on the host", l.to.user)
	if l.o.Identity != "" {
		hint += "; it is printed by\n  ssh-keygen -y -f " + l.o.Identity
	} else {
		hint += "; the agent's are printed by\n  ssh-add -L"
	}
	return &host.TroubleError{
		Trouble: cluster.LoginRefused,
		Message: fmt.Sprintf("%s does not let %s in: %s: %s", l.to.address, l.to.user, why, strings.Join(id.tried, ", ")),
		Hint:    hint,
	}
}
