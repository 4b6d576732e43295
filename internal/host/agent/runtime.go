package agent

import (
	"context"
	"time"

	"cke/internal/cluster"
)

// runtime runs one etcd per cluster. It obeys: what may be started is decided
// by the guard. Its callers hold the cluster's lock, but for state and wait.
type runtime interface {
	// install is called before a unit's file is replaced and remove before it
	// is removed: whatever the runtime keeps of it outside follows.
	install(u cluster.Unit) error
	remove(cluster string) error
	// start begins to run the member and returns when the process exists. It
	// does nothing while one runs.
	start(ctx context.Context, u cluster.Unit) error
	// stop returns when no process of the member is left.
	stop(ctx context.Context, cluster string, m cluster.MemberID, grace time.Duration) error
	// state is what is true now, of the cluster's last started member.
	state(cluster string) (procState, error)
	// runs says whether a process works in this member's data directory,
	// whoever started it.
	runs(cluster string, m cluster.MemberID) (bool, error)
	// wait returns when the running state is no longer as given.
	wait(ctx context.Context, cluster string, running bool) error
}

// procState is a member's process.
type procState struct {
	running bool
	started *cluster.Unit // of the running process
	exit    string        // how the last one ended; empty while running
	cause   string        // the one message that says most about why; empty while running
	log     string        // the last one's last messages of weight; empty while running
}
