package remote

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"cke/internal/cluster"
	"cke/internal/host/remote/sshtest"
)

// keyed is a machine with keys of several types, and options that know none.
func keyed(t testing.TB, kinds ...string) (*machineAt, Options) {
	t.Helper()
	m := newMachine(t, sshtest.Options{HostKeys: kinds, Run: forced(t.TempDir())})
	o := m.options(t)
	o.Trusted = nil
	return m, o
}

func trusting(line string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return line, nil }
}

// other is the key of another machine.
func other(t testing.TB, kind string) (line, fingerprint string) {
	t.Helper()
	s, err := sshtest.Start(sshtest.Options{HostKeys: []string{kind}})
	must(t, err)
	must(t, s.Close())
	return s.HostKeys()[0], s.Fingerprints()[0]
}

// knownLine is a line of a known_hosts file for a machine.
func knownLine(t testing.TB, m *machineAt, keyLine string) string {
	t.Helper()
	key, err := parseKey(keyLine)
	must(t, err)
	return knownhosts.Line([]string{m.Address().String()}, key)
}

func write(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "known_hosts")
	must(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	return path
}

// Whichever of a machine's keys is the known one: that one it must show.
func TestKnownHostKey(t *testing.T) {
	kinds := []string{"ed25519", "ecdsa", "rsa"}
	for i, kind := range kinds {
		for by, tell := range map[string]func(t *testing.T, m *machineAt, o *Options, n *cluster.Node){
			"trust": func(_ *testing.T, m *machineAt, o *Options, _ *cluster.Node) { o.Trusted = trusting(m.HostKeys()[i]) },
			"pin": func(_ *testing.T, m *machineAt, _ *Options, n *cluster.Node) {
				n.HostKey = strings.TrimSpace(m.HostKeys()[i])
			},
			"fingerprint": func(_ *testing.T, m *machineAt, _ *Options, n *cluster.Node) { n.HostKey = m.Fingerprints()[i] },
			"known_hosts": func(t *testing.T, m *machineAt, o *Options, _ *cluster.Node) {
				o.KnownHosts = write(t, knownLine(t, m, m.HostKeys()[i]))
			},
			"pin before rest": func(t *testing.T, m *machineAt, o *Options, n *cluster.Node) {
				wrong, _ := other(t, kind)
				n.HostKey, o.Trusted, o.KnownHosts = m.Fingerprints()[i], trusting(wrong), write(t, knownLine(t, m, wrong))
			},
			"trust before file": func(t *testing.T, m *machineAt, o *Options, _ *cluster.Node) {
				wrong, _ := other(t, kind)
				o.Trusted, o.KnownHosts = trusting(m.HostKeys()[i]), write(t, knownLine(t, m, wrong))
			},
		} {
			t.Run(kind+" by "+by, func(t *testing.T) {
				t.Parallel()
				m, o := keyed(t, kinds...)
				n := m.Node("cke")
				tell(t, m, &o, &n)
				_, h := reach(t, o, n)
				_, err := facts(t.Context(), h)
				must(t, err)
			})
		}
	}
}

func TestUnknownHostKey(t *testing.T) {
	t.Parallel()
	m, o := keyed(t, "rsa", "ed25519")
	elsewhere, _ := other(t, "ed25519")
	key, err := parseKey(elsewhere)
	must(t, err)
	o.KnownHosts = write(t, knownhosts.Line([]string{"10.0.0.9"}, key))
	hosts, h := reach(t, o, m.Node("cke"))
	_, err = facts(t.Context(), h)
	wantTrouble(t, err, cluster.HostKeyUnknown, "is not known; it shows ED25519 "+m.Fingerprints()[1],
		"ckecli node trust 127.0.0.1 --fingerprint "+m.Fingerprints()[1], "ssh_host_ed25519_key.pub")
	if have, from, err := hosts.Recorded(t.Context(), m.Node("cke")); have != "" || from != "" || err != nil {
		t.Errorf("on record: %q %q %v", have, from, err)
	}

	// Seen and trusted, it is reached.
	shown, err := hosts.Shown(t.Context(), m.Node("cke"), "")
	must(t, err)
	if shown.Type != "ED25519" || shown.Fingerprint != m.Fingerprints()[1] {
		t.Fatalf("%+v", shown)
	}
	for i, kind := range []string{"RSA", "ED25519"} {
		shown, err = hosts.Shown(t.Context(), m.Node("cke"), m.Fingerprints()[i])
		must(t, err)
		if shown.Type != kind || shown.Fingerprint != m.Fingerprints()[i] {
			t.Fatalf("%+v", shown)
		}
	}
	o.Trusted = trusting(shown.Line)
	trusts, h := reach(t, o, m.Node("cke"))
	_, err = facts(t.Context(), h)
	must(t, err)
	if have, from, err := trusts.Recorded(t.Context(), m.Node("cke")); have != "ED25519 "+shown.Fingerprint || from != "ckecli node trust" || err != nil {
		t.Errorf("on record: %q %q %v", have, from, err)
	}
}

func TestChangedHostKey(t *testing.T) {
	for _, known := range []string{"ed25519", "rsa", "ecdsa"} {
		wrong, print := other(t, known)
		for by, c := range map[string]struct {
			tell  func(t *testing.T, m *machineAt, o *Options, n *cluster.Node)
			words []string
		}{
			"trust": {func(_ *testing.T, _ *machineAt, o *Options, _ *cluster.Node) { o.Trusted = trusting(wrong) },
				[]string{"ckecli node trust gives", "ckecli node trust 127.0.0.1 --fingerprint"}},
			"pin": {func(_ *testing.T, _ *machineAt, _ *Options, n *cluster.Node) { n.HostKey = wrong },
				[]string{"host_key in cluster.yml gives", "correct host_key in cluster.yml"}},
			"fingerprint": {func(_ *testing.T, _ *machineAt, _ *Options, n *cluster.Node) { n.HostKey = print },
				[]string{"correct host_key in cluster.yml"}},
			"known_hosts": {func(t *testing.T, m *machineAt, o *Options, _ *cluster.Node) {
				o.KnownHosts = write(t, "# mine", knownLine(t, m, wrong))
			},
				[]string{"line 2 of /", "--fingerprint"}},
		} {
			t.Run(known+" by "+by, func(t *testing.T) {
				t.Parallel()
				m, o := keyed(t, "ed25519", "rsa")
				n := m.Node("cke")
				c.tell(t, m, &o, &n)
				_, h := reach(t, o, n)
				_, err := facts(t.Context(), h)
				got := wantTrouble(t, err, cluster.HostKeyChanged, append(c.words, "THE HOST KEY OF "+m.Address().String()+" HAS CHANGED", print)...)
				if !strings.Contains(got.Message, m.Fingerprints()[0]) && !strings.Contains(got.Message, m.Fingerprints()[1]) {
					t.Errorf("the key that is shown is not named: %s", got.Message)
				}
			})
		}
	}
}

func TestRevokedHostKey(t *testing.T) {
	t.Parallel()
	m, o := keyed(t, "ed25519")
	o.Trusted = trusting(m.HostKeys()[0])
	o.KnownHosts = write(t, "@revoked * "+strings.TrimSpace(m.HostKeys()[0]))
	n := m.Node("cke")
	_, h := reach(t, o, n)
	_, err := facts(t.Context(), h)
	wantTrouble(t, err, cluster.HostKeyChanged, "revokes")
	n.HostKey = m.Fingerprints()[0]
	_, h = reach(t, o, n)
	_, err = facts(t.Context(), h)
	wantTrouble(t, err, cluster.HostKeyChanged, "revokes")
}

func TestHostCertificate(t *testing.T) {
	t.Parallel()
	ca, err := sshtest.NewAuthority()
	must(t, err)
	m := newMachine(t, sshtest.Options{Authority: ca, Run: forced(t.TempDir())})
	o := m.options(t)
	o.Trusted = nil
	o.KnownHosts = write(t, "@cert-authority 127.* "+strings.TrimSpace(string(ssh.MarshalAuthorizedKey(ca.PublicKey()))))
	_, h := reach(t, o, m.Node("cke"))
	_, err = facts(t.Context(), h)
	must(t, err)
}

// A file that cannot be read may hold what revokes a key: nobody is trusted.
func TestUnreadableKnownHosts(t *testing.T) {
	t.Parallel()
	m, o := keyed(t, "ed25519")
	o.Trusted = trusting(m.HostKeys()[0])
	for name, path := range map[string]string{"missing": "/nonexistent/known_hosts", "broken": write(t, "not a line of such a file")} {
		o.KnownHosts = path
		_, h := reach(t, o, m.Node("cke"))
		if _, err := facts(t.Context(), h); err == nil || !strings.Contains(err.Error(), "read known_hosts: ") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
