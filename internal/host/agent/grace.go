package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"cke/internal/cluster"
)

const (
	// graceLeast is how long a member that was told to end goes on at least: what its
	// clients asked before they heard of it is on its way.
	graceLeast = 200 * time.Millisecond
	// graceAsk is how often it is asked then whether it still has something to answer.
	graceAsk = 50 * time.Millisecond
)

// grace is begun when a process has been told to end; when the context it gives
// ends, it is killed. Whoever begins it ends it.
type grace func(context.Context) (context.Context, context.CancelFunc)

// atMost is a grace of this length.
func atMost(d time.Duration) grace {
	return func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, d) }
}

// forRequests is the grace of a member, at most this long. A member that ends answers
// what it was asked, and would then wait, for seconds, for clients to end their
// watches and leases, which none does before it is gone. So it is over once there is
// nothing else. A member that does not say so has all of it.
func (a *Agent) forRequests(u cluster.Unit, most time.Duration) grace {
	at := netip.AddrPortFrom(loopback(u.Address), cluster.MetricsPort)
	return untilIdle(most, func(ctx context.Context) (bool, error) { return hasAnswered(ctx, at, u.Member) })
}

// hasAnswered says whether a member that was told to end has nothing left to answer. One
// that listens no more has ended all its clients' calls before (embed.Etcd.Close), and
// waits a second for its peers' connections.
func hasAnswered(ctx context.Context, at netip.AddrPort, id cluster.MemberID) (idle bool, err error) {
	err = readMetrics(ctx, at, func(text io.Reader) (err error) {
		idle, err = readIdle(text, id)
		return err
	})
	if errors.Is(err, syscall.ECONNREFUSED) {
		return true, nil
	}
	return idle, err
}

// untilIdle ends when it was so twice in a row: an answer may not be sent yet when
// its call is over.
func untilIdle(most time.Duration, idle func(context.Context) (bool, error)) grace {
	return func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithTimeout(ctx, most)
		var asking sync.WaitGroup
		asking.Go(func() {
			for wait, before := graceLeast, false; ; wait = graceAsk {
				t := time.NewTimer(wait)
				select {
				case <-ctx.Done():
					t.Stop()
					return
				case <-t.C:
				}
				now, err := idle(ctx)
				now = now && err == nil // one that does not answer ends by itself, or has no time
				if now && before {
					cancel()
					return
				}
				before = now
			}
		})
		return ctx, func() { cancel(); asking.Wait() }
	}
}

// readIdle says whether a member's metrics show no call under way but watches and
// leases that are kept alive; never those of another member.
func readIdle(text io.Reader, id cluster.MemberID) (bool, error) {
	itself, counted, underWay := false, false, 0.0
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		started := strings.HasPrefix(name, "grpc_server_started_total{")
		switch {
		case name == `etcd_server_id{server_id="`+id.String()+`"}`:
			itself = true
		case strings.Contains(name, `grpc_method="Watch",grpc_service="etcdserverpb.Watch"`),
			strings.Contains(name, `grpc_method="LeaseKeepAlive",grpc_service="etcdserverpb.Lease"`):
		case started, strings.HasPrefix(name, "grpc_server_handled_total{"):
			n, err := number(value)
			if err != nil {
				return false, err
			}
			if counted = true; started {
				underWay += n
			} else {
				underWay -= n
			}
		}
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read metrics: %w", err)
	}
	return itself && counted && underWay == 0, nil
}
