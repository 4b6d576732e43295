package hosts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/test/drive"
)

// TestTwoDaemons has two cke with one store care for machines over SSH. The one
// that leads is killed in the midst of a replacement, and the other stopped in the
// next and woken when it is over: each time the other one finishes.
func TestTwoDaemons(t *testing.T) {
	e := newEnv(t, 4)
	store := drive.NewStore(t, 1, "127.0.0.1")
	e.configure("interval: 2s", store.Config())
	second := e.second(store)
	outcomes := filepath.Join(second.Dir, "outcomes")

	e.StartWith([]string{"CKE_EFFECT_KILL=retire-member"})
	e.leads(e.Installation)
	second.StartWith([]string{"CKE_EFFECT_STOP=promote-learner", "CKE_EFFECT_OUTCOMES=" + outcomes})
	e.Set(e.yaml(1, 2, 3))
	load := e.tenant(false, 1, 2, 3)

	began := time.Now()
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 4)))
	<-e.Ended()
	killed := time.Now()
	e.leads(second)
	second.OnlyMembersAre(e.names(1, 2, 4)...)
	t.Logf("leader killed amid a replacement: whole %s after the edit, %s after the kill",
		time.Since(began).Round(time.Millisecond), time.Since(killed).Round(time.Millisecond))

	e.Kill() // collects it
	e.Start()
	began = time.Now()
	second.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3)))
	e.stops(second.PID())
	done := len(fileLines(t, outcomes))
	stopped := time.Now()
	e.leads(e.Installation)
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	t.Logf("leader stopped amid a replacement: whole %s after the edit, %s after the stop",
		time.Since(began).Round(time.Millisecond), time.Since(stopped).Round(time.Millisecond))

	pids := e.mainPIDs(1, 2, 3, 4)
	e.must(syscall.Kill(second.PID(), syscall.SIGCONT))
	e.Eventually("the woken daemon follows", func() error {
		l, err := second.Client().Leader(t.Context())
		if err == nil && l.Self {
			err = errors.New("it takes itself for the leader")
		}
		if err == nil && !strings.Contains(string(e.read(second.Log)), "leads no more") {
			err = errors.New("it has not noticed")
		}
		return err
	})
	for _, o := range fileLines(t, outcomes)[done:] {
		t.Logf("once awake: %s", o)
		if strings.Contains(o, " host.") && strings.HasSuffix(o, `"<nil>"`) {
			t.Errorf("a deposed leader has done %s", o)
		}
	}
	load.Wrote(50)
	e.OnlyMembersAre(e.names(1, 2, 3)...)
	if now := e.mainPIDs(1, 2, 3, 4); now != pids {
		t.Errorf("members run as %s, did as %s", now, pids)
	}
	load.Finish(500)
	e.NeverBelowQuorum()
	if state := e.Stop(); !state.Success() {
		t.Errorf("the leader stops with %s", state)
	}
	e.leads(second)
}

// second prepares another daemon for the same machines.
func (e *env) second(store *drive.Store) *drive.Installation {
	e.t.Helper()
	dir := filepath.Join(e.Dir, "second")
	e.must(os.MkdirAll(dir, 0o700))
	in := e.At(dir)
	in.Write("config.yml", fmt.Sprintf(`data_dir: %[2]s/state
key_file: %[1]s/seal.key
socket: %[2]s/cke.sock
local: {root: %[2]s/nodes, releases: %[1]s/releases}
ssh: {identity: %[3]s}
interval: 2s
%[4]s`, e.Dir, dir, e.lab.KeyFile(), store.Config()))
	e.t.Cleanup(func() {
		if e.t.Failed() {
			e.t.Logf("the end of the second daemon's log:\n%s", drive.LastLines(in.Log, 80))
		}
		in.Kill()
	})
	return in
}

// leads waits until a daemon acts.
func (e *env) leads(in *drive.Installation) {
	e.t.Helper()
	e.Eventually("the daemon leads", func() error {
		l, err := in.Client().Leader(e.t.Context())
		if err == nil && !l.Self {
			err = fmt.Errorf("pid %d leads", l.PID)
		}
		return err
	})
}

// stops waits until a process is stopped.
func (e *env) stops(pid int) {
	e.t.Helper()
	e.Eventually("the daemon stops itself", func() error {
		_, state, _ := strings.Cut(string(e.read(fmt.Sprintf("/proc/%d/stat", pid))), ") ")
		if !strings.HasPrefix(state, "T") {
			return errors.New("it runs")
		}
		return nil
	})
}

func (e *env) read(path string) []byte {
	e.t.Helper()
	b, err := os.ReadFile(path)
	e.must(err)
	return b
}

// mainPIDs are the members' processes on these machines.
func (e *env) mainPIDs(nodes ...int) string {
	e.t.Helper()
	var pids []string
	for _, i := range nodes {
		pids = append(pids, e.mainPID(i))
	}
	return strings.Join(pids, " ")
}

func fileLines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
}
