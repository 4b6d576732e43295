package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cke/internal/units"
)

func defaultDaemon() Daemon {
	return Daemon{
		DataDir: "/var/lib/cke", KeyFile: "/etc/cke/seal.key", Socket: "/run/cke/cke.sock",
		Local:    Local{Root: "/var/lib/cke/nodes", Releases: "/opt/cke/etcd"},
		SSH:      SSH{Identity: "/etc/cke/id_ed25519"},
		Interval: units.Duration(10 * time.Second),
		Log:      Log{Level: "info", Format: "text"},
		Client:   Client{Server: "unix:///run/cke/cke.sock"},
	}
}

func TestParseDaemon(t *testing.T) {
	full := Daemon{
		DataDir: "/d", KeyFile: "/k", Socket: "/s",
		Listen: &Listen{Address: ":4433", Certificate: "/c", Key: "/ck", ClientCA: "/ca"},
		Local:  Local{Root: "/r", Releases: "/rel"},
		SSH:    SSH{Identity: "none", Agent: "/a", KnownHosts: "/kh", Helpers: "/h"},
		Store: &Store{
			Endpoints: []string{"https://10.0.0.5:2379", "http://[::1]:2379"},
			CA:        "/sca", Certificate: "/sc", Key: "/sk", Prefix: "/team/a/",
		},
		Interval: units.Duration(time.Minute),
		Log:      Log{Level: "debug", Format: "json"},
		Client:   Client{Server: "https://[fd00::1]:4433", CACertificate: "/ca", Certificate: "/c", Key: "/k"},
	}
	moved := defaultDaemon()
	moved.DataDir, moved.Local.Root, moved.Socket, moved.Client.Server = "/srv", "/srv/nodes", "/x", "unix:///x"
	other := defaultDaemon()
	other.Client.Server = "unix:///other.sock"
	shared := defaultDaemon()
	shared.Store = &Store{Endpoints: []string{"https://etcd.example.org:2379"}, Prefix: "/cke/"}
	several := defaultDaemon()
	several.Client = Client{Server: "https://a:1, https://b:1", Certificate: "/c", Key: "/k"}
	for name, c := range map[string]struct {
		in   string
		want Daemon
	}{
		"shared":   {"store: {endpoints: ['https://etcd.example.org:2379']}\n", shared},
		"several":  {"client: {server: 'https://a:1, https://b:1', certificate: /c, key: /k}\n", several},
		"empty":    {"", defaultDaemon()},
		"comments": {"# nothing\n\n  # yet\n", defaultDaemon()},
		"null":     {"local:\nlisten:\nlog: {}\n", defaultDaemon()},
		"derived":  {"data_dir: /srv\nsocket: /x\n", moved},
		"other":    {"client: {server: 'unix:///other.sock'}\n", other},
		"full": {`data_dir: /d
key_file: /k
socket: /s
listen: {address: ":4433", certificate: /c, key: /ck, client_ca: /ca}
local: {root: /r, releases: /rel}
ssh: {identity: none, agent: /a, known_hosts: /kh, helpers: /h}
store: {endpoints: ["https://10.0.0.5:2379", "http://[::1]:2379"], ca: /sca, certificate: /sc, key: /sk, prefix: /team/a/}
interval: 1m
log: {level: debug, format: json}
client: {server: "https://[fd00::1]:4433", ca_certificate: /ca, certificate: /c, key: /k}
`, full},
	} {
		got, err := ParseDaemon("config.yml", []byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func TestParseDaemonProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-daemon/*.yml")
	if err != nil || len(files) < 3 {
		t.Fatal("no cases", err, files)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = ParseDaemon("config.yml", data)
			var ps *Problems
			if !errors.As(err, &ps) {
				t.Fatalf("the error is %T %v", err, err)
			}
			golden(t, strings.TrimSuffix(file, ".yml")+".golden", err.Error()+"\n")
		})
	}
}

func TestLoadDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yml")
	if _, err := LoadDaemon(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := LoadClient(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte("socket: /a.sock\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := LoadClient(path); err != nil || c != (Client{Server: "unix:///a.sock"}) {
		t.Errorf("a file without client: %+v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte("sockte: /a.sock\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadDaemon(path); err == nil || err.Error() != path+`:1:1: unknown key "sockte", did you mean "socket"?` {
		t.Errorf("a misspelt key: %v", err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"address", "hostname", "control_plane", "user", "zone"}
	for key, want := range map[string]string{
		"adress": "address", "addresss": "address", "adresse": "address", "ADDRESS": "address", "controlPlane": "control_plane",
		"control-plane": "control_plane", "hostnmae": "hostname", "host": "", "usr": "user", "zoen": "zone", "z": "", "": "", "role": "",
		strings.Repeat("a", 1000): "",
	} {
		if got := nearest(key, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", key, got, want)
		}
	}
}

func FuzzParseDaemon(f *testing.F) {
	f.Add([]byte("listen: {address: ':1'}\nclient: {server: 'https://x'}\n"))
	f.Add([]byte("interval: -1s\nlog: [x]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseDaemon("c", data)
		if (err == nil) == (c == Daemon{}) {
			t.Fatalf("%+v with error %v", c, err)
		}
	})
}
