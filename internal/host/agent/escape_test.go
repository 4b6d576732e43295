package agent

import (
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cke/internal/cluster"
	"cke/internal/host"
)

// hostile are names that would leave their place if they became paths, flags
// or lines.
func hostile() []string {
	return []string{
		"", ".", "..", "../x", "a/b", "/etc", "a\nb", "a\x00b", "a b", "-a", "a.b", "A", "é", "*", "$(id)",
		strings.Repeat("a", 64), strings.Repeat("a", 1<<20), strings.Repeat("../", 1000),
	}
}

// tree lists everything below a directory.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		out = append(out, path)
		return err
	}))
	return out
}

// tree is everything on a box; of a machine of its own, what is CKE's.
func (b *box) tree(t *testing.T) []string {
	t.Helper()
	if !onMachine() {
		return tree(t, b.root)
	}
	all, err := filepath.Glob("/etc/systemd/system/etcd*")
	must(t, err)
	gateways, err := filepath.Glob("/etc/systemd/system/*/cke-gateway*")
	must(t, err)
	all = append(all, gateways...)
	for _, dir := range ownDirs() {
		if _, err := os.Lstat(dir); err == nil {
			all = append(all, tree(t, dir)...)
		}
	}
	return append([]string{b.root}, all...)
}

func TestNoNameEscapes(t *testing.T) {
	processOnly(t, "it needs a root of its own")
	everyWay(t, func(t *testing.T, b *box, open opener) {
		parent := b.root
		b.root = filepath.Join(parent, "root")
		must(t, os.Mkdir(b.root, 0o700))
		h, ctx, good := open(t, b), t.Context(), b.founder()
		ca := map[host.FileKind][]byte{host.ClientCA: newCA(t).pem()}
		list := []cluster.Upstream{{Node: "cp1", Address: netip.AddrPortFrom(b.addr, cluster.ClientPort)}}
		before := tree(t, parent)
		for _, name := range hostile() {
			_, err := h.Facts(ctx, name, b.addr)
			wantInvalid(t, err)
			wantInvalid(t, h.PutFiles(ctx, host.PutFiles{Cluster: name, Files: ca}))
			wantInvalid(t, h.PutFiles(ctx, host.PutFiles{Cluster: "c", Files: map[host.FileKind][]byte{host.FileKind(name): nil}}))
			wantInvalid(t, h.StartUnit(ctx, name, 1))
			wantInvalid(t, h.StopUnit(ctx, host.StopUnit{Cluster: name, Member: 1}))
			wantInvalid(t, h.RetireUnit(ctx, name, 1))
			wantInvalid(t, h.Clean(ctx, name))
			wantInvalid(t, h.WaitUnit(ctx, name, true))
			_, err = h.Progress(ctx, name, 1)
			wantInvalid(t, err)
			_, err = h.Sends(ctx, name, 1, 2)
			wantInvalid(t, err)
			wantInvalid(t, h.RemoveGateway(ctx, name))
			wantInvalid(t, h.PutGateway(ctx, cluster.Gateway{Cluster: name, Port: 12379, Upstreams: list}))
			wantInvalid(t, h.PutGateway(ctx, cluster.Gateway{Cluster: "c", Port: 12379, Upstreams: []cluster.Upstream{
				{Node: cluster.NodeName(name), Address: list[0].Address}}}))
			client := clientRequest(t, b)
			client.Cluster = name
			wantInvalid(t, h.PutClientFiles(ctx, client))
			for _, spoil := range []func(u *cluster.Unit){
				func(u *cluster.Unit) { u.Cluster = name },
				func(u *cluster.Unit) { u.Node = cluster.NodeName(name) },
				func(u *cluster.Unit) { u.Version = name },
				func(u *cluster.Unit) { u.Founding.Token = name + "\n" },
				func(u *cluster.Unit) { u.Founding.Peers[cluster.NodeName(name)] = "https://10.0.0.1:2380" },
				func(u *cluster.Unit) { u.Founding.Peers["cp2"] = name },
				func(u *cluster.Unit) { u.ExtraArgs = map[string]string{name + "=": "x"} },
				func(u *cluster.Unit) { u.ExtraEnv = map[string]string{name + "=": "x"} },
			} {
				u := good
				f := *good.Founding
				f.Peers = maps.Clone(f.Peers)
				u.Founding = &f
				spoil(&u)
				wantInvalid(t, h.InstallUnit(ctx, u))
			}
		}
		if after := tree(t, parent); len(after) != len(before) {
			t.Fatalf("there is now %q", after)
		}
		must(t, h.InstallUnit(ctx, good))
	})
}

func TestUnitsThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h := inProcess(t, b)
	args := func(name, value string) func(u *cluster.Unit) {
		return func(u *cluster.Unit) { u.ExtraArgs = map[string]string{name: value} }
	}
	env := func(name, value string) func(u *cluster.Unit) {
		return func(u *cluster.Unit) { u.ExtraEnv = map[string]string{name: value} }
	}
	cases := map[string]func(u *cluster.Unit){
		"no member":          func(u *cluster.Unit) { u.Member = 0 },
		"a member not its":   func(u *cluster.Unit) { u.Member++ },
		"no address":         func(u *cluster.Unit) { u.Address = netip.Addr{} },
		"every address":      func(u *cluster.Unit) { u.Address = netip.IPv4Unspecified() },
		"a zone":             func(u *cluster.Unit) { u.Address = netip.MustParseAddr("fe80::1%eth0") },
		"a leading zero":     func(u *cluster.Unit) { u.Version = "3.07.3" },
		"a negative quota":   func(u *cluster.Unit) { u.Quota = -1 },
		"no history":         func(u *cluster.Unit) { u.Retention = 1 },
		"history for ever":   func(u *cluster.Unit) { u.Retention = 1 << 62 },
		"not its own peer":   func(u *cluster.Unit) { u.Founding.Peers["cp1"] = "https://10.0.0.1:2380" },
		"no peers":           func(u *cluster.Unit) { u.Founding.Peers = nil },
		"a plain peer":       func(u *cluster.Unit) { u.Founding.Peers["cp2"] = "http://10.0.0.1:2380" },
		"a comma in a peer":  func(u *cluster.Unit) { u.Founding.Peers["cp2"] = "https://10.0.0.1:2380,x=https://10.0.0.2:2380" },
		"a flag of two":      args("max-learners=2\n--unsafe-no-fsync", "true"),
		"a line in a value":  args("max-learners", "2\n3"),
		"a zero in a value":  args("max-learners", "2\x003"),
		"a long value":       args("max-learners", strings.Repeat("1", 1<<16)),
		"the log's rotation": args("enable-log-rotation", "false"),
		"discovery":          args("discovery-cert", "/etc/shadow"),
		"etcd's variable":    env("ETCD_UNSAFE_NO_FSYNC", "true"),
		"the loader's":       env("LD_PRELOAD", "/tmp/x.so"),
		"a lower-case one":   env("ld_preload", "/tmp/x.so"),
		"a line in it":       env("GOGC", "1\n2"),
	}
	for _, flag := range cluster.OwnedFlags() {
		cases["owned "+flag] = args(flag, "x")
	}
	for name, spoil := range cases {
		u := b.founder()
		spoil(&u)
		var i *host.InvalidError
		if err := h.InstallUnit(t.Context(), u); !errors.As(err, &i) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if f := facts(t, h, b); f.Unit != nil {
		t.Errorf("installed: %+v", f.Unit)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	processOnly(t, "it needs a root of its own")
	t.Parallel()
	b := newBox(t)
	handler := b.agent().Handler()
	for name, c := range map[string]struct{ method, path, epoch, body string }{
		"unknown field":    {"POST", "/v1/facts", "1", `{"cluster":"c","path":"/etc"}`},
		"unknown in unit":  {"POST", "/v1/install-unit", "1", `{"cluster":"c","command":"id"}`},
		"two values":       {"POST", "/v1/clean", "1", `{"cluster":"c"}{"cluster":"d"}`},
		"no value":         {"POST", "/v1/clean", "1", ``},
		"not JSON":         {"POST", "/v1/clean", "1", `cluster=c`},
		"a large body":     {"POST", "/v1/clean", "1", `{"cluster":"` + strings.Repeat("a", maxBody) + `"}`},
		"large files":      {"POST", "/v1/put-files", "1", `{"cluster":"` + strings.Repeat("a", maxFilesBody) + `"}`},
		"member too long":  {"POST", "/v1/start-unit", "1", `{"cluster":"c","member":"11111111111111111"}`},
		"member not hex":   {"POST", "/v1/start-unit", "1", `{"cluster":"c","member":"../../x"}`},
		"member a number":  {"POST", "/v1/start-unit", "1", `{"cluster":"c","member":12}`},
		"negative grace":   {"POST", "/v1/stop-unit", "1", `{"cluster":"c","member":"1","grace":-1}`},
		"no epoch":         {"POST", "/v1/clean", "", `{"cluster":"c"}`},
		"negative epoch":   {"POST", "/v1/clean", "-1", `{"cluster":"c"}`},
		"not a verb":       {"POST", "/v1/exec", "1", `{}`},
		"not an operation": {"GET", "/v1/facts", "1", `{"cluster":"c"}`},
	} {
		req := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		req.Header.Set(host.HeaderStore, "store-a")
		req.Header.Set(host.HeaderEpoch, c.epoch)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"invalid"`) || w.Body.Len() > 2000 {
			t.Errorf("%s: %d %.300s", name, w.Code, w.Body)
		}
	}
	if got := tree(t, b.root); len(got) != 1 {
		t.Errorf("there is now %q", got)
	}
}
