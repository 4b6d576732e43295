package lab

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// The users of every machine. All accept the lab's key.
const (
	Root = "root"
	Ops  = "ops" // may do everything through sudo, without a password
	CKE  = "cke" // may do one thing through sudo: /usr/local/bin/cke-host serve
)

// SSHArgs are the arguments with which ssh(1) reaches the machine as this user;
// the command may follow. Nothing of the caller's own ~/.ssh is used, and the
// host key is not checked.
func (m *Machine) SSHArgs(user string) []string {
	return append(m.SSHOptions(), "-l", user, m.addr.String())
}

// SSHOptions are those of SSHArgs without whom to reach: for scp(1).
func (m *Machine) SSHOptions() []string {
	return []string{
		"-F", "/dev/null", "-i", m.home.key(),
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10",
	}
}

// SSH runs a line of shell on the machine as this user, over the network, and
// returns its standard output.
func (m *Machine) SSH(ctx context.Context, user, line string) (string, error) {
	out, err := bounded(ctx, exec.Command("ssh", append(append([]string{"-n"}, m.SSHArgs(user)...), line)...), "")
	if err != nil {
		return out, fmt.Errorf("ssh %s@%s %s: %w", user, m.name, line, err)
	}
	return out, nil
}

// HostKey is the machine's public host key as in known_hosts, without the
// address: "ssh-ed25519 AAAA…".
func (m *Machine) HostKey(ctx context.Context) (string, error) {
	text, err := m.ReadFile(ctx, "/etc/ssh/ssh_host_ed25519_key.pub")
	if err != nil {
		return "", err
	}
	f := strings.Fields(string(text))
	if len(f) < 2 {
		return "", fmt.Errorf("read the host key of %s: it has no two words", m.name)
	}
	return f[0] + " " + f[1], nil
}

// HostKeyFingerprint is the host key as ssh shows it: "SHA256:…".
func (m *Machine) HostKeyFingerprint(ctx context.Context) (string, error) {
	key, err := m.HostKey(ctx)
	if err != nil {
		return "", err
	}
	_, encoded, _ := strings.Cut(key, " ")
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", fmt.Errorf("read the host key of %s: %w", m.name, err)
	}
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]), nil
}

// NewHostKey gives the machine another host key, as a reinstalled one has.
func (m *Machine) NewHostKey(ctx context.Context) error {
	_, err := m.Exec(ctx, "sh", "-ec", `
		rm -f /etc/ssh/ssh_host_ed25519_key*
		ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
		systemctl restart ssh`)
	return err
}

// LimitKey sets the options that the lab's key has in the user's
// authorized_keys, such as `restrict,command="…"`; "" takes them away.
func (m *Machine) LimitKey(ctx context.Context, user, options string) error {
	public, err := os.ReadFile(m.home.key() + ".pub")
	if err != nil {
		return fmt.Errorf("read the lab's key: %w", err)
	}
	line := string(public)
	if options != "" {
		line = options + " " + line
	}
	path := "/home/" + user + "/.ssh/authorized_keys"
	if user == Root {
		path = "/root/.ssh/authorized_keys"
	}
	// In place: owner and mode stay as they are.
	_, err = m.ExecInput(ctx, line, "sh", "-c", `cat >"$1"`, "limit", path)
	return err
}

// ForceCommand lets the lab's key, as this user, run this command and nothing
// else. LimitKey(ctx, user, "") undoes it.
func (m *Machine) ForceCommand(ctx context.Context, user, command string) error {
	quoted := strings.ReplaceAll(command, `"`, `\"`)
	return m.LimitKey(ctx, user, `restrict,command="`+quoted+`"`)
}
