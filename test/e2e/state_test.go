package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/record"
	"cke/test/drive"
)

// TestStateBackup: CKE's own state is lost beside living members, and comes back.
func TestStateBackup(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Start()
	e.set(1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	before := rememberState(e)

	e.Says("state backup", e.CLI("state", "backup", "cke.state"), "made cke.state", "seal key file is not in it")
	e.wantMode(filepath.Join(e.Dir, "cke.state"), 0o600)
	stateIsNotOverwritten(e)
	e.Stop()
	restoreRefusals(e)
	if now := e.members(); !maps.Equal(now, before.pids) {
		t.Fatalf("the members were %v and are %v after cke stopped", before.pids, now)
	}

	emptyStoreIsBlocked(e, before)
	if err := os.RemoveAll(filepath.Join(e.Dir, "state")); err != nil {
		t.Fatal(err)
	}
	if !e.Start("--restore-state", filepath.Join(e.Dir, "cke.state")) {
		t.Fatalf("cke does not start from its backup:\n%s", drive.LastLines(e.Log, 10))
	}
	stateIsBack(e, before)
	e.killMember("cp1")
	e.Eventually("the member is started again", func() error {
		if pid := e.members()["cp1"]; pid == 0 || pid == before.pids["cp1"] {
			return fmt.Errorf("pid %d", pid)
		}
		return nil
	})
	e.Settled()

	e.Stop()
	e.Says("a second restore", e.daemonFails(1, "--config", "config.yml", "--restore-state", "cke.state"), "cke.state: restore state into", "state/store", "exists already")
	if !e.Start() {
		t.Fatalf("cke does not start again:\n%s", drive.LastLines(e.Log, 10))
	}
	if l := e.leader(); l.StoreID != before.leader.StoreID {
		t.Errorf("the store is %s, it was %s", l.StoreID, before.leader.StoreID)
	}
	e.Settled()
}

// state is what has to be the same afterwards.
type state struct {
	leader  api.Leader
	spec    api.SpecAnswer
	history []record.Record
	status  api.Status
	pids    map[string]int
	app     api.Certificate
	root    api.Certificate
}

func (e *env) leader() api.Leader {
	e.t.Helper()
	return drive.Decode[api.Leader](e.t, e.CLI("leader", "--output", "json"))
}

func rememberState(e *env) state {
	e.t.Helper()
	s := state{app: e.UserCert("app"), root: e.RootCert(), leader: e.leader(), status: e.Settled(), pids: e.members()}
	s.spec = drive.Decode[api.SpecAnswer](e.t, e.CLI("cluster", "get", "--output", "json"))
	s.history = drive.Decode[[]record.Record](e.t, e.CLI("history", "-n", "1000", "--output", "json"))
	put(e.t, e, s.app, "/app/x", "from before")
	return s
}

func stateIsNotOverwritten(e *env) {
	e.t.Helper()
	file := filepath.Join(e.Dir, "cke.state")
	first, err := os.ReadFile(file)
	if err != nil {
		e.t.Fatal(err)
	}
	if bytes.Contains(first, []byte("PRIVATE KEY")) {
		e.t.Error("a private key lies open in the backup")
	}
	e.CLIFails(2, []string{"state", "backup", "cke.state"}, "cke.state exists already", "--force")
	if second, err := os.ReadFile(file); err != nil || !bytes.Equal(first, second) {
		e.t.Errorf("a refused backup changed the file: %v", err)
	}
	e.CLIFails(1, []string{"state", "backup", "no/such/dir"}, "no such file or directory")
	e.CLIFails(2, []string{"state", "backup"}, "FILE is missing")
}

// restoreRefusals: what cannot be restored is refused with its reason, and
// nothing is written.
func restoreRefusals(e *env) {
	e.t.Helper()
	good, err := os.ReadFile(filepath.Join(e.Dir, "cke.state"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.Write("cut.state", string(good[:len(good)*2/3]))
	// Cut at the end of a line, so that only the trailer is missing.
	e.Write("cutline.state", string(good[:bytes.LastIndexByte(good[:len(good)-1], '\n')+1]))
	e.Write("empty.state", "")
	e.Write("newer.state", withSchema(e, good, 99))
	config, err := os.ReadFile(filepath.Join(e.Dir, "config.yml"))
	if err != nil {
		e.t.Fatal(err)
	}
	fresh := filepath.Join(e.Dir, "fresh")
	moved := strings.ReplaceAll(string(config), e.Dir+"/state", fresh)
	e.Write("fresh.yml", moved)
	e.Write("nokey.yml", strings.ReplaceAll(moved, "seal.key", "lost.key"))
	otherKey(e)
	e.Write("otherkey.yml", strings.ReplaceAll(moved, "seal.key", "other.key"))
	for _, c := range []struct {
		config, file string
		says         []string
	}{
		{"fresh.yml", "none.state", []string{"open state backup", "none.state", "no such file"}},
		{"fresh.yml", "empty.state", []string{"empty.state: ", "cut short"}},
		{"fresh.yml", "cut.state", []string{"cut.state: ", "cut short"}},
		{"fresh.yml", "cutline.state", []string{"cutline.state: ", "cut short"}},
		{"fresh.yml", "config.yml", []string{"config.yml: ", "verify backup"}},
		{"fresh.yml", "newer.state", []string{"backup has schema version 99, this cke knows versions up to", "hint: start the cke that wrote it, or a newer one"}},
		{"nokey.yml", "cke.state", []string{"the store's seal key is missing", "lost.key", "hint: put the key file", "back"}},
		{"otherkey.yml", "cke.state", []string{"sealed with key " + sealKeyID(e, "seal.key"), "the key given is " + sealKeyID(e, "other.key"), "hint: point cke at the seal key file"}},
		{"config.yml", "cke.state", []string{"state/store", "exists already"}},
	} {
		before := e.tree(filepath.Join(e.Dir, "state"))
		e.Says(c.config+" "+c.file, e.daemonFails(1, "--config", c.config, "--restore-state", c.file), c.says...)
		if after := e.tree(filepath.Join(e.Dir, "state")); !slices.Equal(after, before) {
			e.t.Errorf("%s %s: the store changed", c.config, c.file)
		}
		wroteNothing(e, fresh, c.config+" "+c.file)
	}
	flips(e, good, fresh)
	if _, err := os.Stat(filepath.Join(e.Dir, "lost.key")); !os.IsNotExist(err) {
		e.t.Errorf("a new key was made where the right one is missing: %v", err)
	}
}

// flips tries one changed bit in each of several places.
func flips(e *env, good []byte, fresh string) {
	e.t.Helper()
	for _, at := range []int{5, len(good) / 3, len(good) - 30, len(good) - 2} {
		bad := slices.Clone(good)
		bad[at] ^= 1
		e.Write("flipped.state", string(bad))
		e.Says(fmt.Sprintf("bit at %d", at), e.daemonFails(1, "--config", "fresh.yml", "--restore-state", "flipped.state"), "flipped.state: ", "verify backup")
		wroteNothing(e, fresh, fmt.Sprintf("bit at %d", at))
	}
}

func wroteNothing(e *env, fresh, what string) {
	e.t.Helper()
	left := slices.DeleteFunc(e.tree(fresh), func(s string) bool { return strings.HasSuffix(s, "/lock") || strings.HasSuffix(s, "/fresh") })
	if len(left) > 0 {
		e.t.Errorf("%s: it wrote %v", what, left)
	}
}

// withSchema is the same backup as a later cke would have written it.
func withSchema(e *env, good []byte, version int) string {
	e.t.Helper()
	lines := bytes.SplitAfter(good, []byte("\n"))
	lines = lines[:len(lines)-1] // behind the last line end
	lines[0] = bytes.Replace(lines[0], []byte(`"schema":1,`), fmt.Appendf(nil, `"schema":%d,`, version), 1)
	body := bytes.Join(lines[:len(lines)-1], nil)
	if bytes.Equal(body, good[:len(body)]) {
		e.t.Fatalf("the backup's header names no schema: %s", lines[0])
	}
	var trailer struct {
		Count  int    `json:"count"`
		SHA256 string `json:"sha256"`
	}
	if err := json.Unmarshal(lines[len(lines)-1], &trailer); err != nil {
		e.t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	trailer.SHA256 = hex.EncodeToString(sum[:])
	last, err := json.Marshal(trailer)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(body) + string(last) + "\n"
}

// otherKey makes other.key, as another installation would have it.
func otherKey(e *env) {
	e.t.Helper()
	other := e.at(filepath.Join(e.Dir, "other"))
	if err := os.Mkdir(other.Dir, 0o700); err != nil {
		e.t.Fatal(err)
	}
	other.Write("config.yml", fmt.Sprintf("data_dir: %[1]s/state\nkey_file: %[1]s.key\nsocket: %[1]s/cke.sock\n", other.Dir))
	if !other.Start() {
		e.t.Fatalf("another cke does not start:\n%s", drive.LastLines(other.Log, 10))
	}
	other.Stop()
}

func sealKeyID(e *env, file string) string {
	e.t.Helper()
	b, err := os.ReadFile(filepath.Join(e.Dir, file))
	if err != nil {
		e.t.Fatal(err)
	}
	words := strings.Fields(string(b))
	if len(words) < 2 || len(words[1]) != 16 {
		e.t.Fatalf("%s begins with %q", file, words[0])
	}
	return words[1]
}

// emptyStoreIsBlocked: a cke without any memory finds living members, and leaves
// them alone.
func emptyStoreIsBlocked(e *env, before state) {
	e.t.Helper()
	if err := os.RemoveAll(filepath.Join(e.Dir, "state")); err != nil {
		e.t.Fatal(err)
	}
	files := e.tree(filepath.Join(e.Dir, "nodes"))
	if !e.Start() {
		e.t.Fatalf("cke does not start with an empty store:\n%s", drive.LastLines(e.Log, 10))
	}
	spec := e.Write("cluster.yml", e.clusterYAML(1, 2, 3))
	e.CLIFails(3, []string{"cluster", "set", spec, "--wait"},
		"error: cluster main is held back:", "blocked dataWithoutRecord cp1", "CKE's store knows of no bootstrap", "cke --restore-state FILE", "hint: ")
	e.Until("it is told of all three", func(s api.Status) error { // a host may be slow to answer
		told := 0
		for _, r := range s.Plan.Reasons {
			if r.Rule == "dataWithoutRecord" {
				told++
			}
		}
		if s.Phase != cluster.PhaseNew || told != 3 || len(s.Plan.Reasons) != 3 || len(s.Plan.Steps) > 0 {
			return fmt.Errorf("phase %q, told %d times", s.Phase, told)
		}
		return nil
	})
	e.CLIFails(3, []string{"etcd", "root-issue"}, "not bootstrapped")
	e.CLIFails(3, []string{"etcd", "user-add", "app", "/app/"}, "not bootstrapped")
	e.CLIFails(3, []string{"etcd", "local-backup", "--dir", "none"}, "not bootstrapped")
	e.Stop()
	if after := e.tree(filepath.Join(e.Dir, "nodes")); !slices.Equal(withoutLogs(after), withoutLogs(files)) {
		e.t.Errorf("the nodes' files changed:\n%s\n%s", strings.Join(files, "\n"), strings.Join(after, "\n"))
	}
	if now := e.members(); !maps.Equal(now, before.pids) {
		e.t.Errorf("the members were %v and are %v", before.pids, now)
	}
}

// withoutLogs leaves out what etcd itself writes meanwhile.
func withoutLogs(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(f string) bool { return strings.Contains(f, "/member/") })
}

// stateIsBack compares everything CKE knows with what it knew.
func stateIsBack(e *env, before state) {
	t := e.t
	l := e.leader()
	if l.StoreID != before.leader.StoreID || l.Epoch <= before.leader.Epoch {
		t.Errorf("store %s epoch %d; it was %s epoch %d, want the same store and a higher epoch", l.StoreID, l.Epoch, before.leader.StoreID, before.leader.Epoch)
	}
	s := e.Settled()
	if s.ClusterID != before.status.ClusterID || s.Phase != cluster.PhaseBootstrapped {
		t.Errorf("cluster %s phase %s, it was %s", s.ClusterID, s.Phase, before.status.ClusterID)
	}
	spec := drive.Decode[api.SpecAnswer](t, e.CLI("cluster", "get", "--output", "json"))
	if was, is := fmt.Sprintf("%+v", before.spec.Spec), fmt.Sprintf("%+v", spec.Spec); was != is {
		t.Errorf("the spec is %s, it was %s", is, was)
	}
	history := drive.Decode[[]record.Record](t, e.CLI("history", "-n", "1000", "--output", "json"))
	if len(history) < len(before.history) {
		t.Fatalf("the history has %d records, it had %d", len(history), len(before.history))
	}
	for i, r := range before.history {
		if history[i].String() != r.String() || history[i].Seq != r.Seq {
			t.Errorf("record %d is %s, it was %s", i, history[i], r)
		}
	}
	if now := e.members(); !maps.Equal(now, before.pids) {
		t.Errorf("the members were %v and are %v: none had to be restarted", before.pids, now)
	}
	e.Says("the user is known", e.CLI("etcd", "user-add", "app", "/app/"), "is there already")
	root := e.RootCert()
	if root.CACertificate != before.root.CACertificate {
		t.Error("the servers' CA is another")
	}
	for who, c := range map[string]api.Certificate{"app, from before": before.app, "app, from now": e.UserCert("app"), "root, from before": before.root, "root, from now": root} {
		ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
		got, err := e.connect(c, 1, 2, 3).Get(ctx, "/app/x")
		cancel()
		if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "from before" {
			t.Errorf("%s reads %v %v", who, got, err)
		}
	}
}
