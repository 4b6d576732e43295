package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

const (
	// quotaBytes bounds the database: 100 clusters with full histories need
	// about 150 MiB.
	quotaBytes = 512 << 20
	// maxTxnOps lets one edit of a spec touch hundreds of nodes.
	maxTxnOps = 2048
	// socketName lies in the etcd directory, which only this user can enter.
	socketName = "client.sock"
	// maxSocketPath leaves room below sun_path's 108 bytes.
	maxSocketPath = 100
	stopPatience  = 5 * time.Second
	electEvery    = 5 * time.Millisecond
	electPatience = time.Minute
)

// embedded is an etcd of one member inside this process and a client to it.
type embedded struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	fatal  *fatality
	// dir keeps the socket's directory open; see socketPath.
	dir *os.File
}

// startEmbedded starts etcd on dir, creating it when it is not there.
func startEmbedded(ctx context.Context, dir string, quota int64, log *slog.Logger) (*embedded, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make store directory: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open store directory: %w", err)
	}
	e := &embedded{fatal: newFatality(), dir: d}
	lg := newZap(log, e.fatal)
	socket := socketPath(d)
	if err := e.start(ctx, embedConfig(dir, socket, cmp.Or(quota, quotaBytes), lg)); err != nil {
		return nil, errors.Join(err, e.stop())
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect store socket: %w", err), e.stop())
	}
	e.client, err = clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + socket}, Logger: lg})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to store: %w", err), e.stop())
	}
	return e, nil
}

// socketPath names the socket for bind and connect. A path that is too long
// for the kernel, or would need quoting in a URL, is named through the open
// directory instead; it is the same file.
func socketPath(dir *os.File) string {
	abs, err := filepath.Abs(filepath.Join(dir.Name(), socketName))
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-", r)
	}
	odd := strings.ContainsFunc(abs, func(r rune) bool { return !plain(r) })
	if err != nil || odd || len(abs) > maxSocketPath {
		return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName)
	}
	return abs
}

func embedConfig(dir, socket string, quota int64, lg *zap.Logger) *embed.Config {
	// Nobody listens on the peer address; a member only has to have one.
	nowhere := []url.URL{{Scheme: "unix", Host: "cke-store"}}
	cfg := embed.NewConfig()
	cfg.Name = "cke-store"
	cfg.Dir = dir
	cfg.ListenPeerUrls = nil
	cfg.AdvertisePeerUrls = nowhere
	cfg.ListenClientUrls = []url.URL{{Scheme: "unix", Path: socket}}
	cfg.AdvertiseClientUrls = nowhere
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(lg)
	cfg.EnableGRPCGateway = false
	cfg.QuotaBackendBytes = quota
	cfg.MaxTxnOps = maxTxnOps
	cfg.AutoCompactionMode = embed.CompactorModeRevision
	cfg.AutoCompactionRetention = "1000"
	cfg.SnapshotCount = 1000
	cfg.SnapshotCatchUpEntries = 1
	cfg.MaxWalFiles = 1
	cfg.MaxSnapFiles = 1
	cfg.BootstrapDefragThresholdMegabytes = 16
	// Nobody hears these heartbeats, and elect does not wait for the timeout.
	cfg.TickMs = 1000
	cfg.ElectionMs = 5000
	// The log has what the database has not committed yet.
	cfg.BackendBatchInterval = 500 * time.Millisecond
	return cfg
}

// start runs StartEtcd in a goroutine of its own, so that neither a panic nor a
// fatal message in it reaches the caller as anything but an error.
func (e *embedded) start(ctx context.Context, cfg *embed.Config) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New("etcd ended its start without a word")
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("panic: %v", r)
			} else if f := e.fatal.Err(); f != nil {
				err = f
			}
			result <- err
		}()
		debug.SetPanicOnFault(true)
		e.etcd, err = embed.StartEtcd(cfg)
	}()
	if err := <-result; err != nil {
		return &StartError{Dir: cfg.Dir, Err: err}
	}
	return e.elect(ctx, cfg.Dir)
}

// elect makes the only voter leader at once, with the message by which a leader
// hands over (raft's MsgTimeoutNow), in place of a timeout that would have to be
// short and so would keep an idle process awake. It is repeated because a member
// cannot campaign before it has applied its log.
func (e *embedded) elect(ctx context.Context, dir string) error {
	self := uint64(e.etcd.Server.MemberID())
	tick := time.NewTicker(electEvery)
	defer tick.Stop()
	patience := time.NewTimer(electPatience)
	defer patience.Stop()
	started := time.Now()
	for {
		select {
		case <-e.etcd.Server.ReadyNotify():
			return nil
		case <-e.etcd.Server.StopNotify():
			return &StartError{Dir: dir, Err: errors.New("etcd stopped again")}
		case <-e.fatal.done:
			return &StartError{Dir: dir, Err: e.fatal.Err()}
		case <-ctx.Done():
			return fmt.Errorf("start store %s: %w", dir, ctx.Err())
		case <-patience.C:
			return &StartError{Dir: dir, Err: fmt.Errorf("it has no leader after %s", electPatience)}
		case <-tick.C:
		}
		if e.etcd.Server.Leader() != 0 || !e.applied(ctx, started) {
			continue
		}
		now := &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), From: &self, To: &self}
		if err := e.etcd.Server.Process(ctx, now); err != nil {
			return &StartError{Dir: dir, Err: fmt.Errorf("elect: %w", err)}
		}
	}
}

// applied says whether raft itself has taken note that its log was applied.
// Before that, etcd may have compacted the log already, and a campaign, which
// looks for unapplied membership changes, panics on the missing entries (raft
// raft.go, hasUnappliedConfChanges). etcd tells it in the variable raft.status
// only, for the server started last in this process; any other waits as long as
// etcd's own first tick would.
func (e *embedded) applied(ctx context.Context, started time.Time) bool {
	v := expvar.Get("raft.status")
	if v == nil {
		return time.Since(started) > etcdTick
	}
	// raft answers for itself; one that has died of a fatal message never does.
	said := make(chan string, 1)
	go func() { said <- v.String() }()
	var status struct {
		ID      string `json:"id"`
		Commit  uint64 `json:"commit"`
		Applied uint64 `json:"applied"`
	}
	select {
	case <-ctx.Done():
		return false
	case <-e.fatal.done:
		return false
	case s := <-said:
		if err := json.Unmarshal([]byte(s), &status); err != nil || status.ID != e.etcd.Server.MemberID().String() {
			return time.Since(started) > etcdTick
		}
	}
	return status.Applied == status.Commit
}

// etcdTick is etcd's default tick.
const etcdTick = 100 * time.Millisecond

// stop ends client and server. After a fatal message some of etcd's goroutines
// are gone and it may wait for them for ever; then it is left behind.
func (e *embedded) stop() error {
	e.fatal.closing.Store(true)
	var err error
	if e.client != nil {
		if cerr := e.client.Close(); cerr != nil && !errors.Is(cerr, context.Canceled) {
			err = fmt.Errorf("close store client: %w", cerr)
		}
	}
	if e.etcd != nil {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			e.etcd.Close()
		}()
		if e.fatal.Err() == nil {
			<-stopped
		} else {
			select {
			case <-stopped:
			case <-time.After(stopPatience):
			}
		}
	}
	return errors.Join(err, e.dir.Close())
}
