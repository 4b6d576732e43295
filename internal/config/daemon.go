package config

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cke/internal/units"
)

// DefaultPath is where cke and ckecli look for config.yml.
const DefaultPath = "/etc/cke/config.yml"

// Daemon is config.yml. Every key may be left out; all paths are absolute. As
// a file:
//
//	data_dir: /var/lib/cke        # cke's own store and, by default, its local nodes
//	key_file: /etc/cke/seal.key   # the key all secrets in the store are sealed with
//	socket: /run/cke/cke.sock     # where the API is served to this machine
//	listen:                       # the API over HTTPS; left out: not served
//	  address: 10.77.0.1:4433
//	  certificate: /etc/cke/api.crt
//	  key: /etc/cke/api.key
//	  client_ca: /etc/cke/api-clients.crt
//	local:                        # members on this machine
//	  root: /var/lib/cke/nodes
//	  releases: /opt/cke/etcd
//	ssh:                          # members on other machines
//	  identity: /etc/cke/id_ed25519   # a private key, mode 0600, without a passphrase
//	  agent: /run/cke/agent.sock      # an ssh-agent; default: $SSH_AUTH_SOCK, if set; none: none
//	  known_hosts: /etc/ssh/ssh_known_hosts   # read beside the keys trusted with node trust
//	  helpers: /opt/cke/bin           # cke-host, cke-host-linux-arm64; default: where cke is
//	store:                        # an etcd elsewhere that keeps cke's state, for several
//	  endpoints: [https://10.77.0.5:2379]   # daemons; left out: one inside this daemon
//	  ca: /etc/cke/store-ca.crt
//	  certificate: /etc/cke/store.crt
//	  key: /etc/cke/store.key
//	  prefix: /cke/               # within no other cke's
//	interval: 10s                 # how often the loop looks, besides being woken
//	log:
//	  level: info                 # debug, info, warn or error
//	  format: text                # text or json
//	client:                       # for ckecli; left out: the socket above
//	  server: https://cke.example.org:4433
//	  ca_certificate: /etc/cke/api-ca.crt
//	  certificate: /etc/cke/operator.crt
//	  key: /etc/cke/operator.key
type Daemon struct {
	// DataDir holds cke's own state. One daemon at a time.
	DataDir string `yaml:"data_dir"`
	// KeyFile is the key that seals CA keys in the store and in state backups.
	KeyFile string `yaml:"key_file"`
	// Socket is a unix socket, mode 0600, at most 107 bytes long.
	Socket string `yaml:"socket"`
	// Listen serves the API over HTTPS too. Nil: it does not.
	Listen *Listen `yaml:"listen"`
	Local  Local   `yaml:"local"`
	SSH    SSH     `yaml:"ssh"`
	// Store is an etcd elsewhere. Nil: cke keeps its state itself, in DataDir.
	Store *Store `yaml:"store"`
	// Interval is between two rounds of the loop when nothing wakes it; at
	// least 100 ms.
	Interval units.Duration `yaml:"interval"`
	Log      Log            `yaml:"log"`
	// Client is read by ckecli only.
	Client Client `yaml:"client"`
}

// Listen is the API over HTTPS. All keys are needed.
type Listen struct {
	// Address is a host, or nothing for all, and a port: "10.77.0.1:4433".
	Address string `yaml:"address"`
	// Certificate and Key are the server's, PEM.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// ClientCA, PEM, issued the certificates of those who may call.
	ClientCA string `yaml:"client_ca"`
}

// Local says where members on this machine live.
type Local struct {
	// Root holds a directory for each node; default DataDir/nodes.
	Root string `yaml:"root"`
	// Releases holds a directory for each etcd version, such as v3.7.3.
	Releases string `yaml:"releases"`
}

// SSH says how members on other machines are reached.
type SSH struct {
	// Identity is the file of a private key; None for none. It need not exist
	// when there is an agent.
	Identity string `yaml:"identity"`
	// Agent is the socket of an ssh-agent; None for none. Empty: SSH_AUTH_SOCK
	// in the daemon's environment says.
	Agent string `yaml:"agent"`
	// KnownHosts is a file as ssh(1) has them. Empty: none.
	KnownHosts string `yaml:"known_hosts"`
	// Helpers holds cke-host for other machines. Empty: the directory of the
	// running program.
	Helpers string `yaml:"helpers"`
}

// None is written where SSH is not to use an identity or an agent.
const None = "none"

// Log says how the daemon logs, on its standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// Client says how ckecli reaches the daemon.
type Client struct {
	// Server is unix:///PATH or https://HOST:PORT; several, with commas between
	// them, are those of several daemons.
	Server string `yaml:"server"`
	// CACertificate, PEM, issued the server's certificate. Empty: one of the
	// system's.
	CACertificate string `yaml:"ca_certificate"`
	// Certificate and Key are the caller's own, PEM.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// WithDefaults returns the configuration with everything left out filled in,
// but for Listen, which is off then, and Client's certificates.
func (d Daemon) WithDefaults() Daemon {
	for _, f := range []struct {
		value *string
		is    string
	}{
		{&d.DataDir, "/var/lib/cke"},
		{&d.KeyFile, "/etc/cke/seal.key"},
		{&d.Socket, "/run/cke/cke.sock"},
		{&d.Local.Releases, "/opt/cke/etcd"},
		{&d.SSH.Identity, "/etc/cke/id_ed25519"},
		{&d.Log.Level, "info"},
		{&d.Log.Format, "text"},
	} {
		if *f.value == "" {
			*f.value = f.is
		}
	}
	if d.Local.Root == "" {
		d.Local.Root = filepath.Join(d.DataDir, "nodes")
	}
	if d.Interval == 0 {
		d.Interval = units.Duration(10 * time.Second)
	}
	d.Store = d.Store.withDefaults()
	if d.Client.Server == "" {
		d.Client.Server = "unix://" + d.Socket
	}
	return d
}

// ParseDaemon reads a config.yml; file is only for messages. Defaults are
// filled in; an empty file is all defaults. The error is a *Problems.
func ParseDaemon(file string, data []byte) (Daemon, error) {
	var c Daemon
	d := &document{file: file, at: map[string]position{}, failed: map[string]bool{}}
	if !blank(data) {
		d = readDocument(file, data, &c)
	}
	// Problems of Client are those of a server that was named.
	named := c.Client.Server != ""
	c = c.WithDefaults()
	for _, p := range c.validate(named) {
		if !d.unknown(p.Path) {
			d.addProblem(p)
		}
	}
	if _, err := split(d.problems); err != nil {
		return Daemon{}, err
	}
	return c, nil
}

// LoadDaemon reads a config.yml from a file. The error is a *Problems, or that
// of reading, such as one that is fs.ErrNotExist.
func LoadDaemon(path string) (Daemon, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Daemon{}, fmt.Errorf("read configuration: %w", err)
	}
	return ParseDaemon(path, data)
}

// LoadClient reads how to reach the daemon from its config.yml: its client
// section, or else its socket.
func LoadClient(path string) (Client, error) {
	d, err := LoadDaemon(path)
	return d.Client, err
}
