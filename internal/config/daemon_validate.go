package config

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

const (
	// maxSocket is what fits into sockaddr_un (unix(7)), less its final zero.
	maxSocket   = 107
	minInterval = units.Duration(100 * time.Millisecond)
)

// validate returns every problem of a configuration with its defaults.
// clientNamed says whether client.server was given rather than filled in.
func (d Daemon) validate(clientNamed bool) []cluster.Problem {
	var ps []cluster.Problem
	add := func(path, format string, args ...any) {
		ps = append(ps, cluster.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	for _, f := range []struct{ path, value string }{
		{"data_dir", d.DataDir}, {"key_file", d.KeyFile}, {"socket", d.Socket},
		{"local.releases", d.Local.Releases},
	} {
		absolute(add, f.path, f.value)
	}
	// By default it is below data_dir, and there is nothing more to say.
	if d.Local.Root != filepath.Join(d.DataDir, "nodes") {
		absolute(add, "local.root", d.Local.Root)
	}
	if len(d.Socket) > maxSocket {
		add("socket", "socket is %d bytes long; the system takes at most %d", len(d.Socket), maxSocket)
	}
	d.SSH.validate(add)
	if d.Listen != nil {
		d.Listen.validate(add)
	}
	if d.Store != nil {
		d.Store.validate(add)
	}
	if d.Interval < minInterval {
		add("interval", "interval %s is too short: at least %s", d.Interval, minInterval)
	}
	oneOf(add, "log.level", d.Log.Level, "debug", "info", "warn", "error")
	oneOf(add, "log.format", d.Log.Format, "text", "json")
	d.Client.validate(add, clientNamed)
	return ps
}

type adder func(path, format string, args ...any)

func absolute(add adder, path, value string) {
	if !filepath.IsAbs(value) {
		add(path, "%s %q is not an absolute path", called(path), short(value))
	}
}

func oneOf(add adder, path, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		add(path, "%s %q is not one of %s", called(path), short(value), strings.Join(choices, ", "))
	}
}

func (s SSH) validate(add adder) {
	for _, f := range []struct {
		path, value string
		none        bool // may be none
	}{
		{"ssh.identity", s.Identity, true}, {"ssh.agent", s.Agent, true},
		{"ssh.known_hosts", s.KnownHosts, false}, {"ssh.helpers", s.Helpers, false},
	} {
		if f.value != "" && (f.value != None || !f.none) {
			absolute(add, f.path, f.value)
		}
	}
}

func (l Listen) validate(add adder) {
	if l.Address == "" {
		add("listen.address", "address is missing")
	} else if why := badHostPort(l.Address); why != "" {
		add("listen.address", "address %q %s; write it like 10.77.0.1:4433", short(l.Address), why)
	}
	for _, f := range []struct{ path, value string }{
		{"listen.certificate", l.Certificate}, {"listen.key", l.Key}, {"listen.client_ca", l.ClientCA},
	} {
		if f.value == "" {
			add(f.path, "%s is missing: the API over HTTPS is served only with certificates on both sides", called(f.path))
			continue
		}
		absolute(add, f.path, f.value)
	}
}

func badHostPort(s string) string {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "is not a host and a port"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "has no port between 1 and 65535"
	}
	return ""
}

func (c Client) validate(add adder, named bool) {
	var web, local bool
	for server := range strings.SplitSeq(c.Server, ",") {
		server = strings.TrimSpace(server)
		u, err := url.Parse(server)
		isWeb := err == nil && u.Scheme == "https" && u.Host != "" && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.User == nil
		isLocal := err == nil && u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path)
		if named && !isWeb && !isLocal {
			add("client.server", "server %q is neither https://HOST:PORT nor unix:///PATH", short(server))
		}
		web, local = web || isWeb, local || isLocal
	}
	local = local && !web
	for _, f := range []struct{ path, value string }{
		{"client.ca_certificate", c.CACertificate}, {"client.certificate", c.Certificate}, {"client.key", c.Key},
	} {
		switch {
		case f.value == "":
		case local:
			add(f.path, "%s is of no use over a unix socket; give server as https://HOST:PORT too", called(f.path))
		default:
			absolute(add, f.path, f.value)
		}
	}
	switch {
	case !web:
	case c.Certificate == "":
		add("client.certificate", "certificate is missing: the daemon serves only callers with a certificate")
	case c.Key == "":
		add("client.key", "key is missing: it belongs to certificate")
	}
}

// blank: nothing but comments and white space.
func blank(data []byte) bool {
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}
