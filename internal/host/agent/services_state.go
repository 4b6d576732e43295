package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/cluster"
)

// unitHash is what serviceFile.hash gives. A process may write into its own
// environment what it likes.
var unitHash = regexp.MustCompile(`^[0-9a-f]{32}$`)

// How a main process ended (sigaction(2), si_code of SIGCHLD).
const (
	childExited = 1
	childKilled = 2
	childDumped = 3
)

// startWait is how often a unit without a process is looked at by who waits for one.
const startWait = 200 * time.Millisecond

// reapTime bounds how long systemd may take to notice the end of a process.
const reapTime = 2 * time.Second

func (s *services) state(ctx context.Context, c string) (procState, error) {
	now, err := s.look(ctx, serviceName(c))
	if err != nil {
		return procState{}, fmt.Errorf("look at unit %s: %w", serviceName(c), err)
	}
	var rec serviceRecord
	known, err := readJSON(s.recordPath(c), &rec)
	if err != nil {
		return procState{}, err
	}
	st := procState{
		running: now.running, who: now.process, overridden: s.overridden(c, now.unit),
		asked: rec.Unit, again: int(now.service.number("NRestarts")), // anew with each start that follows a stop
	}
	if st.running {
		st.started, err = s.startedWith(c, now.pid)
		return st, err
	}
	boot, err := bootID()
	if err != nil {
		return procState{}, err
	}
	switch {
	case !known: // what systemd may remember is of a member that was retired
	case refused(now):
		st.exit = "systemd does not start it: " + brokenAssert(now.unit)
	case now.service.number("ExecMainCode") != 0:
		st.exit = exitText(now.service)
		ms := s.lastWords(ctx, c, now)
		st.cause, st.log = ms.cause(), ms.summary()
	case rec.Boot != boot:
		st.exit = "the machine was restarted"
	default:
		st.exit = "ended unseen"
	}
	st.ended = rec.Unit.Member
	return st, nil
}

// look is what systemd says of a unit and its process. A process that has just
// ended is known to the kernel first: systemd is given the time to take note.
type look struct {
	unit, service properties
	pid           int
	process       process // only while running
	running       bool
}

func (s *services) look(ctx context.Context, name string) (now look, err error) {
	boot, err := bootID()
	if err != nil {
		return look{}, err
	}
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	for range int(reapTime / startPoll) {
		if now.unit, err = s.bus.unit(ctx, name); err != nil {
			return look{}, err
		}
		if now.service, err = s.bus.service(ctx, name); err != nil {
			return look{}, err
		}
		if now.pid = int(now.service.number("MainPID")); now.pid == 0 {
			break
		}
		// One that is not past systemd's own preparations does not say what it is.
		if now.process, now.running, err = identify(now.pid, boot); err != nil || now.running && executed(now.pid) {
			break
		}
		select {
		case <-ctx.Done():
			return look{}, ctx.Err()
		case <-tick.C:
		}
	}
	return now, err
}

// refused says that systemd's last attempt failed at an assertion.
func refused(now look) bool {
	holds, _ := now.unit["AssertResult"].(bool)
	at := now.unit.number("AssertTimestampMonotonic")
	return !holds && at > 0 && at >= now.service.number("ExecMainExitTimestampMonotonic")
}

// brokenAssert names the assertions that did not hold, as the file has them.
// Each is a name, two signs, a parameter and a state that is negative then.
func brokenAssert(u properties) string {
	var broken []string
	all, _ := u["Asserts"].([][]any)
	for _, a := range all {
		if len(a) < 5 {
			continue
		}
		if state, _ := a[4].(int32); state < 0 {
			broken = append(broken, fmt.Sprintf("%v=%v does not hold", a[0], a[3]))
		}
	}
	if len(broken) == 0 {
		return "an assertion of its unit does not hold"
	}
	return strings.Join(broken, ", ")
}

// exitText has the words of os.ProcessState, and systemd's for a status that is
// its own (systemd.exec(5), process exit codes).
func exitText(service properties) string {
	status := int(service.number("ExecMainStatus"))
	switch service.number("ExecMainCode") {
	case childExited:
		text := "exit status " + strconv.Itoa(status)
		if why, ok := map[int]string{
			200: "CHDIR", 202: "FDS", 203: "EXEC", 205: "LIMITS", 209: "STDOUT", 216: "GROUP", 217: "USER",
			218: "CAPABILITIES", 226: "NAMESPACE", 227: "NO_NEW_PRIVILEGES", 228: "SECCOMP",
		}[status]; ok {
			text += ", systemd's own: " + why
		}
		return text
	case childDumped:
		return "signal: " + syscall.Signal(status).String() + " (core dumped)"
	case childKilled:
		return "signal: " + syscall.Signal(status).String()
	}
	return "ended unseen"
}

// overridden tells what a person changed about the unit, while it is installed:
// any of it may keep the member from running, now or at boot.
func (s *services) overridden(c string, u properties) string {
	var what []string
	name := serviceName(c)
	if u.text("LoadState") == "masked" {
		what = append(what, "unit "+name+" is masked")
	}
	if path := u.text("FragmentPath"); path != "" && path != s.filePath(c) && u.text("LoadState") == "loaded" {
		what = append(what, "unit "+name+" is read from "+path)
	}
	if drop := u.texts("DropInPaths"); len(drop) > 0 {
		what = append(what, "unit "+name+" is changed by "+strings.Join(drop, ", "))
	}
	// Only the lasting unit has a place at boot.
	if text, err := os.ReadFile(s.filePath(c)); err == nil && strings.Contains(string(text), "\n[Install]\n") {
		if _, err := os.Lstat(s.bootLink(c)); errors.Is(err, fs.ErrNotExist) {
			what = append(what, "unit "+name+" is disabled: it does not start at boot")
		}
	}
	return strings.Join(what, "; ")
}

// startedWith reads which values a process was started with. It is nil when
// they are not known any more.
func (s *services) startedWith(c string, pid int) (*cluster.Unit, error) {
	hash, err := unitHashOf(pid)
	if err != nil || hash == "" {
		return nil, err
	}
	var u cluster.Unit
	known, err := readJSON(s.valuesPath(c, hash), &u)
	if err != nil || !known {
		return nil, err
	}
	return &u, nil
}

func unitHashOf(pid int) (string, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/environ", pid))
	if gone(err) || errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // nothing was written
	const limit = 1 << 20
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if gone(err) {
		return "", nil
	}
	for v := range strings.SplitSeq(string(b), "\x00") {
		if hash, ok := strings.CutPrefix(v, unitVar+"="); ok && unitHash.MatchString(hash) {
			return hash, nil
		}
	}
	return "", err
}

// keepValues writes down what a unit file's process will be started with, and
// drops what no process has any more.
func (s *services) keepValues(u cluster.Unit, hash string) error {
	path := s.valuesPath(u.Cluster, hash)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	now := ""
	if p, ok, err := s.find(u.Cluster, u.Member); err != nil {
		return err
	} else if ok {
		if now, err = unitHashOf(p.PID); err != nil {
			return err
		}
	}
	if err := s.dropValues(u.Cluster, now); err != nil {
		return err
	}
	return writeJSON(path, u)
}

func (s *services) dropValues(c string, but ...string) error {
	found, err := names(s.layout.state(c))
	if err != nil {
		return err
	}
	for _, n := range found {
		hash, ok := strings.CutPrefix(strings.TrimSuffix(n, ".json"), "started-")
		if ok && !slices.Contains(but, hash) {
			if err := remove(filepath.Join(s.layout.state(c), n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait sleeps on the main process, or looks for one now and then.
func (s *services) wait(ctx context.Context, c string, running bool) error {
	tick := time.NewTicker(startWait)
	defer tick.Stop()
	for {
		p, ok, err := s.main(ctx, c)
		if err != nil || ok != running {
			return err
		}
		if ok {
			return p.awaitEnd(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for a start: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// main is the unit's main process.
func (s *services) main(ctx context.Context, c string) (process, bool, error) {
	pid, err := s.bus.mainPID(ctx, serviceName(c))
	if err != nil || pid == 0 {
		return process{}, false, err
	}
	boot, err := bootID()
	if err != nil {
		return process{}, false, err
	}
	return identify(pid, boot)
}

// ofMembers says whether a process is root's or of the members' own user.
func ofMembers(pid int) bool {
	uid, _, err := ownerOf("/proc/" + strconv.Itoa(pid))
	if err != nil || uid == 0 {
		return err == nil
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	return err == nil && u.Username == serviceUser
}

func ownerOf(path string) (uid, gid int, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, 0, err
	}
	return int(st.Uid), int(st.Gid), nil
}
