package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cke/internal/api"
	"cke/test/drive"
)

// TestBadInput: what cannot be is refused with an exit code and a message that
// names the place, and changes nothing.
func TestBadInput(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.CLIFails(4, []string{"status"}, "error: reach cke at unix://", "hint: is cke running?")
	e.Start()
	e.CLIFails(1, []string{"status"}, "there is no cluster yet", "hint: make one with ckecli cluster set")
	e.set(1)
	e.CLI("etcd", "user-add", "app", "/app/")
	before := e.CLI("cluster", "get", "--output", "json")
	t.Run("cluster.yml", func(t *testing.T) { badSpecs(e.in(t)) })
	t.Run("all problems at once", func(t *testing.T) { allProblemsAtOnce(e.in(t)) })
	t.Run("changes", func(t *testing.T) { badChanges(e.in(t)) })
	t.Run("users", func(t *testing.T) { badUsers(e.in(t)) })
	t.Run("certificates", func(t *testing.T) { badCertificates(e.in(t)) })
	t.Run("command lines", func(t *testing.T) { badCommandLines(e.in(t)) })
	if after := e.CLI("cluster", "get", "--output", "json"); after != before {
		t.Errorf("the spec changed:\n%s\n%s", before, after)
	}
	t.Run("even members", func(t *testing.T) { evenMembersAreWarnedOf(e.in(t)) })
	e.Settled()
}

// badSpecs are files with one thing wrong in them. NET is the network.
func badSpecs(e *env) {
	const head = "name: main\nnodes:\n"
	const good = "  - {address: NET1, hostname: cp1, control_plane: true}\n"
	for _, c := range []struct{ name, yaml, at, says string }{
		{"unknown key", head + good + "colour: red\n", ":4:1: ", `unknown key "colour"`},
		{"misspelt key", head + "  - {adress: NET1, hostname: cp1, control_plane: true}\n", ":3:6: ", `unknown key "adress", did you mean "address"?`},
		{"misspelt in etcd", head + good + "etcd:\n  qouta: 1GiB\n", ":5:3: ", `unknown key "qouta", did you mean "quota"?`},
		{"repeated key", head + good + "name: main\n", ":4:1: ", `repeated key "name", first at line 1`},
		{"repeated address", head + good + "  - {address: NET1, hostname: cp2, control_plane: true}\n", ":4:15: ", "is already that of nodes[0]"},
		{"repeated hostname", head + good + "  - {address: NET2, hostname: cp1, control_plane: true}\n", ":4:", `hostname "cp1" is already that of nodes[0]`},
		{"not an IP", head + "  - {address: cp1.example.org, hostname: cp1, control_plane: true}\n", ":3:15: ", `"cp1.example.org" is not an IP address`},
		{"no address", head + "  - {hostname: cp1, control_plane: true}\n", ":3:5: ", "address is missing"},
		{"no control plane", head + "  - {address: NET1, hostname: cp1}\n", ":3:3: ", "no node has control_plane: true"},
		{"no nodes", "name: main\n", ":1:1: ", "no node has control_plane: true"},
		{"no name", "nodes:\n" + good, ":1:1: ", "name is missing"},
		{"name with a dot", "name: main.cluster\nnodes:\n" + good, ":1:7: ", `name "main.cluster" is not a DNS label`},
		{"name in capitals", "name: Main\nnodes:\n" + good, ":1:7: ", `name "Main" is not a DNS label`},
		{"hostname with _", head + "  - {address: NET1, hostname: cp_1, control_plane: true}\n", ":3:", `hostname "cp_1" is not a DNS label`},
		{"port of no ssh", head + "  - {address: NET1, hostname: cp1, control_plane: true, port: 22}\n", ":3:", `port is of no use without user`},
		{"more members than nodes", head + good + "etcd: {members: 3}\n", ":4:17: ", "members"},
		{"quota of nothing", head + good + "etcd: {quota: 0}\n", ":4:15: ", "quota may not be 0"},
		{"no size", head + good + "etcd: {quota: big}\n", ":4:15: ", `"big"`},
		{"owned argument", head + good + "etcd: {extra_args: {client-cert-auth: 'false'}}\n", ":4:", `extra_args may not set "client-cert-auth"`},
		{"etcd's environment", head + good + "etcd: {extra_env: {ETCD_NAME: x}}\n", ":4:", `extra_env may not set "ETCD_NAME"`},
		{"no YAML", "name: [main\n", ":", "flow sequence"},
		{"a list", "- name: main\n", ":1:1: ", "the file is a list, not a mapping"},
	} {
		file := e.Write("bad.yml", strings.ReplaceAll(c.yaml, "NET", e.net))
		r := e.Run("ckecli", "cluster", "set", file)
		if r.Code != 1 || r.Stdout != "" {
			e.t.Errorf("%s: exit %d, want 1: %s", c.name, r.Code, r.Stdout)
		}
		e.Says(c.name, r.Stderr, "error: "+file+c.at, c.says, "hint: nothing was changed")
	}
	empty := e.Write("empty.yml", "\n")
	e.CLIFails(1, []string{"cluster", "set", empty}, "error: "+empty+":1:1: the file is empty", "hint: nothing was changed")
	e.CLIFails(1, []string{"cluster", "set", "none.yml"}, "read cluster file", "none.yml", "no such file")
}

func allProblemsAtOnce(e *env) {
	file := e.Write("bad.yml", strings.ReplaceAll(`name: Main_
nodes:
  - {address: NET1, hostname: cp1, control_plane: true}
  - {address: NET1, hostname: cp_2, controlplane: true}
  - {address: not-an-ip, hostname: cp1, control_plane: yes}
etcd:
  quota: 8GiB
  quota: 9GiB
  replace_after: -5m
nodes: []
`, "NET", e.net))
	r := e.Run("ckecli", "cluster", "set", file)
	var places []string
	for line := range strings.Lines(strings.TrimPrefix(r.Stderr, "error: ")) {
		rest, ok := strings.CutPrefix(line, file+":")
		if !ok {
			continue
		}
		parts := strings.SplitN(rest, ":", 3)
		places = append(places, parts[0]+":"+parts[1])
	}
	offset := len(e.net) + 1 // of what follows an address
	at := func(line, column int) string { return fmt.Sprintf("%d:%d", line, column+offset) }
	want := []string{"1:7", "4:15", at(4, 27), at(4, 33), "5:15", "5:36", "5:56", "8:3", "9:18", "10:1"}
	if r.Code != 1 || !slices.Equal(places, want) {
		e.t.Errorf("exit %d, places %v, want %v\n%s", r.Code, places, want, r.Stderr)
	}
}

func badChanges(e *env) {
	for _, c := range []struct{ yaml, says string }{
		{"name: main\nnodes: [{address: NET5, hostname: cp1, control_plane: true}]\n", "the address of cp1 may not change from NET1 to NET5"},
		{"name: main\nnodes: [{address: NET1, hostname: cp7, control_plane: true}]\n", "the hostname at NET1 may not change from cp1 to cp7"},
		{"name: main\nnodes: [{address: NET1, hostname: cp1, control_plane: true}]\netcd: {version: 3.9.0}\n", "version may not change from 3.7.3 to 3.9.0: etcd goes up one minor version at a time"},
		{"name: second\nnodes: [{address: NET1, hostname: cp9, control_plane: true}]\n", "belongs to cluster main as cp1"},
	} {
		file := e.Write("change.yml", strings.ReplaceAll(c.yaml, "NET", e.net))
		e.CLIFails(1, []string{"cluster", "set", file}, strings.ReplaceAll(c.says, "NET", e.net), "nothing was changed")
	}
	e.CLIFails(2, []string{"--cluster", "second", "cluster", "set", e.Write("cluster.yml", e.clusterYAML(1))},
		"is about cluster main, but --cluster says second")
}

func badUsers(e *env) {
	for _, c := range []struct {
		user, prefix string
		code         int
		says         string
	}{
		{"root", "/r/", 1, "user name root is reserved"},
		{"kube-apiserver", "/registry/", 1, "user name kube-apiserver is reserved"},
		{"kube-apiserver", "/k/", 1, "user name kube-apiserver is reserved"},
		{"ca", "/ca/", 1, "user name ca is reserved"},
		{"", "/b/", 1, "user name is empty"},
		{"../b", "/b/", 1, `user name "../b" may hold only`},
		{"b/c", "/b/", 1, "may hold only"},
		{strings.Repeat("b", 64), "/b/", 1, "at most 63"},
		{"b", "", 1, "prefix is empty: it would give user b every key"},
		{"b", "/app/b/", 3, `overlaps prefix "/app/" of user "app"`},
		{"b", "/ap", 3, `overlaps prefix "/app/" of user "app"`},
		{"b", "/", 1, "overlaps /registry/"},
		{"b", "/registry/b/", 1, "overlaps /registry/, which belongs to user kube-apiserver"},
		{"b", "/b\x01/", 1, "not printable"},
		{"app", "/other/", 3, `user "app" exists already with prefix "/app/"`},
		{"app", "", 1, "prefix is empty"},
	} {
		e.CLIFails(c.code, []string{"etcd", "user-add", "--", c.user, c.prefix}, c.says, "hint: nothing was changed")
	}
	e.CLIFails(2, []string{"etcd", "user-add", "b"}, "PREFIX is missing", "hint: usage: ckecli etcd user-add USER PREFIX")
	e.CLIFails(2, []string{"etcd", "user-add", "b", "/b/", "c"}, `unexpected argument "c"`)
	e.Says("the same again", e.CLI("etcd", "user-add", "app", "/app/"), "user app with prefix /app/ is there already")
	again := e.CLI("etcd", "user-add", "app", "/app/", "-output=json")
	if again = strings.Join(strings.Fields(again), ""); again != `{"cluster":"main","name":"app","prefix":"/app/","created":false}` {
		e.t.Errorf("as JSON: %s", again)
	}
}

func badCertificates(e *env) {
	e.CLIFails(1, []string{"etcd", "issue", "root"}, "a certificate of root lives 2 h", "hint: ckecli etcd root-issue")
	e.CLIFails(1, []string{"etcd", "issue", "nobody"}, `there is no user "nobody" in cluster main`, "hint: ckecli etcd user-add")
	e.CLIFails(2, []string{"etcd", "issue"}, "USER is missing")
	for ttl, says := range map[string]string{
		"0": "it must be longer than 0", "0s": "it must be longer than 0", "-1h": "it must be longer than 0",
		"abc": `"abc" is not a duration; write it like 90s, 24h, 30d or 10y`, "24": `"24" is not a duration`, "": `"" is not a duration`,
		"1000y": "out of range",
	} {
		e.CLIFails(2, []string{"etcd", "issue", "app", "-ttl=" + ttl}, "--ttl", says, "hint: ckecli etcd issue --help")
	}
	e.CLIFails(1, []string{"etcd", "issue", "app", "--ttl", "40y"}, "ttl 40y goes beyond the CA's end; the longest possible is 29y364d", "hint: choose a shorter --ttl")
	e.CLIFails(2, []string{"etcd", "issue", "app", "--output", "yaml"}, "--output", "choose json or file")
	e.CLIFails(2, []string{"etcd", "root-issue", "--output", "text"}, "--output", "choose json or file")
	if c := drive.Decode[api.Certificate](e.t, e.CLI("etcd", "issue", "app", "--ttl", "29y")); c.PrivateKey == "" {
		e.t.Error("29 years are refused")
	}
}

func badCommandLines(e *env) {
	for _, c := range []struct {
		code int
		args []string
		says []string
	}{
		{2, []string{"etcd", "isue", "app"}, []string{`ckecli etcd has no command "isue"`, "did you mean issue?"}},
		{2, []string{"etcd"}, []string{"ckecli etcd needs a command", "root-issue"}},
		{2, []string{"status", "--output", "yaml"}, []string{"--output", "choose text or json"}},
		{2, []string{"status", "--otput", "json"}, []string{"unknown flag: --otput"}},
		{2, []string{"--server", "http://foo", "status"}, []string{`server "http://foo" is neither unix:///path nor https://host:port`}},
		{2, []string{"history", "-n", "many"}, []string{`"many"`}},
		{1, []string{"--cluster", "none", "status"}, []string{`there is no cluster "none"`, "ckecli cluster list"}},
		{4, []string{"--server", "unix:///none/cke.sock", "status"}, []string{"reach cke at unix:///none/cke.sock", "no such file", "hint: is cke running?"}},
		{4, []string{"--server", "https://127.0.0.1:1", "status"}, []string{"reach cke at https://127.0.0.1:1", "connection refused"}},
		{1, []string{"node", "trust", "nowhere"}, []string{`no node "nowhere"`}},
		{1, []string{"node", "claim", "nowhere"}, []string{`no node "nowhere"`}},
	} {
		e.CLIFails(c.code, c.args, c.says...)
	}
	if _, err := os.Stat(filepath.Join(e.Dir, "etcd-app.key")); !os.IsNotExist(err) {
		e.t.Errorf("a refused command left a key: %v", err)
	}
}

// evenMembersAreWarnedOf: allowed, as one may be on the way to three.
func evenMembersAreWarnedOf(e *env) {
	e.CLI("pause", "--why", "to look at the warning only")
	file := e.Write("two.yml", e.clusterYAML(1, 2))
	r := e.Run("ckecli", "cluster", "set", file)
	if r.Code != 0 {
		e.t.Errorf("exit %d, want 0", r.Code)
	}
	e.Says("two members", r.Stderr, "warning: "+file+":3:3: 2 members tolerate no more failures than 1")
	e.CLIFails(3, []string{"cluster", "set", file, "--wait"}, "cluster main is paused by uid ", "hint: ckecli resume")
	e.CLI("cluster", "set", e.Write("cluster.yml", e.clusterYAML(1)))
	e.CLI("resume")
}
