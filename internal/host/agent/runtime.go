package agent

import (
	"context"
	"io"
	"os"

	"cke/internal/cluster"
)

// Runtime names what runs a machine's members.
type Runtime string

// The runtimes there are.
const (
	// ProcessRuntime starts etcd itself and knows it by pid. It needs nothing of
	// the machine, and nothing starts a member again without CKE.
	ProcessRuntime Runtime = "process"
	// SystemdRuntime has a unit per member. It needs root, and "/" as its root.
	SystemdRuntime Runtime = "systemd"
)

// MachineRuntime is the runtime of a machine that is all CKE's: what it was
// booted with (sd_booted(3)).
func MachineRuntime() Runtime {
	if info, err := os.Lstat("/run/systemd/system"); err == nil && info.IsDir() {
		return SystemdRuntime
	}
	return ProcessRuntime
}

// runtime runs one etcd per cluster. It obeys: what may be started is decided
// by the guard. Its callers hold the cluster's lock, but for state, wait, logs
// and strangers.
type runtime interface {
	// owner is whom members run as and their files belong to, made when it is
	// not there; nil is the agent itself.
	owner(ctx context.Context) (*owner, error)
	// install is called before a unit's file is replaced and remove before it
	// is removed: whatever the runtime keeps of it outside follows. What starts a
	// member without being asked is kept for sealed ones only.
	install(ctx context.Context, u cluster.Unit, sealed bool) error
	// installed says whether what is kept outside is of this unit.
	installed(u cluster.Unit, sealed bool) (bool, error)
	remove(ctx context.Context, cluster string) error
	// start begins to run the member and returns when the process exists. It
	// does nothing to one that runs.
	start(ctx context.Context, u cluster.Unit, sealed bool) error
	// keep is called once, after a first start, with the member's data in place
	// and before it is sealed: from now on the machine may start it by itself.
	keep(ctx context.Context, u cluster.Unit) error
	// stop returns when no process of the member is left.
	stop(ctx context.Context, cluster string, m cluster.MemberID, g grace) error
	// state is what is true now, of the cluster's last started member.
	state(ctx context.Context, cluster string) (procState, error)
	// runs says whether a process works in this member's data directory,
	// whoever started it.
	runs(ctx context.Context, cluster string, m cluster.MemberID) (bool, error)
	// wait returns when the running state is no longer as given.
	wait(ctx context.Context, cluster string, running bool) error
	// logs streams the last lines of a cluster's log, and what comes if asked to
	// follow. It ends with ctx or when it is closed.
	logs(ctx context.Context, cluster string, lines int, follow bool) (io.ReadCloser, error)
	// strangers says, a sentence for each, what runs or would run an etcd on this
	// machine that is of none of these clusters.
	strangers(ctx context.Context, own []string) ([]string, error)
}

// owner is a user with its group.
type owner struct{ uid, gid int }

// procState is a member's process.
type procState struct {
	running bool
	who     process          // that runs
	started *cluster.Unit    // of the running process
	asked   cluster.Unit     // what CKE started last, zero when that is not known
	again   int              // how often a process was started anew with that since
	exit    string           // how the last one ended; empty while running
	cause   string           // the one message that says most about why; empty while running
	log     string           // the last one's last messages of weight; empty while running
	ended   cluster.MemberID // whose process that was; zero while running and when none is known
	// overridden is what somebody changed about how the machine runs the member.
	overridden string
}
