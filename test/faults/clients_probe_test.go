package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cke/test/faults/history"
)

// prober is a user that goes after the keys of all others, all the time.
type prober struct {
	rec     *history.Recorder
	client  *clientv3.Client
	tenants []*tenant
}

const probeEvery = 100 * time.Millisecond

// attempt is a way to another's keys. What etcd answers from what a member knows
// of leases, which may be late, is not among them: keeping one alive, listing its
// keys.
type attempt struct {
	what string
	try  func(ctx context.Context, c *clientv3.Client, t *tenant) (string, error)
}

func attempts() []attempt {
	got := func(n int64, err error) (string, error) { return fmt.Sprintf("%d keys", n), err }
	get := func(key func(*tenant) string, opts ...clientv3.OpOption) func(context.Context, *clientv3.Client, *tenant) (string, error) {
		return func(ctx context.Context, c *clientv3.Client, t *tenant) (string, error) {
			resp, err := c.Get(ctx, key(t), opts...)
			if err != nil {
				return "", err
			}
			return got(resp.Count, nil)
		}
	}
	prefix := func(t *tenant) string { return t.prefix }
	first := func(t *tenant) string { return keyOf(t.prefix, 0, 0) }
	everything := func(*tenant) string { return "\x00" }
	return []attempt{
		{"read a key", get(first)},
		{"read a key from one member", get(first, clientv3.WithSerializable())},
		{"read a prefix", get(prefix, clientv3.WithPrefix())},
		{"count all keys", get(everything, clientv3.WithFromKey(), clientv3.WithCountOnly(), clientv3.WithSerializable())},
		{"write a key", func(ctx context.Context, c *clientv3.Client, t *tenant) (string, error) {
			return "done", second(c.Put(ctx, first(t), "not "+t.name+"'s"))
		}},
		{"delete a prefix", func(ctx context.Context, c *clientv3.Client, t *tenant) (string, error) {
			return "done", second(c.Delete(ctx, t.prefix, clientv3.WithPrefix()))
		}},
		{"compare a key", func(ctx context.Context, c *clientv3.Client, t *tenant) (string, error) {
			return "done", second(c.Txn(ctx).If(clientv3.Compare(clientv3.Version(first(t)), ">", 0)).
				Then(clientv3.OpPut("/probe/there", "yes")).Else(clientv3.OpPut("/probe/there", "no")).Commit())
		}},
		{"read a key in a transaction", func(ctx context.Context, c *clientv3.Client, t *tenant) (string, error) {
			return "done", second(c.Txn(ctx).If(clientv3.Compare(clientv3.Version("/probe/never"), ">", 0)).
				Then(clientv3.OpGet("/probe/x")).Else(clientv3.OpGet(first(t))).Commit())
		}},
		{"watch a prefix", watchOf(prefix)},
		{"watch everything", watchOf(func(*tenant) string { return "" })},
		{"take a snapshot", func(ctx context.Context, c *clientv3.Client, _ *tenant) (string, error) {
			r, err := c.SnapshotWithVersion(ctx)
			if err != nil {
				return "", err
			}
			n, err := r.Snapshot.Read(make([]byte, 1))
			return fmt.Sprintf("%d bytes", n), errors.Join(err, r.Snapshot.Close())
		}},
		{"revoke a lease", func(ctx context.Context, c *clientv3.Client, t *tenant) (string, error) {
			return onLease(t, func(id clientv3.LeaseID) error { return second(c.Revoke(ctx, id)) })
		}},
		{"put a key on a lease", func(ctx context.Context, c *clientv3.Client, t *tenant) (string, error) {
			return onLease(t, func(id clientv3.LeaseID) error {
				return second(c.Put(ctx, "/probe/leased", "x", clientv3.WithLease(id)))
			})
		}},
	}
}

func second[T any](_ T, err error) error { return err }

var errNoLease = errors.New("find a lease: there is none now")

func onLease(t *tenant, do func(clientv3.LeaseID) error) (string, error) {
	id := t.held.Load()
	if id == 0 {
		return "", errNoLease
	}
	return fmt.Sprintf("lease %x", id), do(clientv3.LeaseID(id))
}

// watchOf waits for what the watch is told first: that it is refused, or that it
// was made.
func watchOf(key func(*tenant) string) func(context.Context, *clientv3.Client, *tenant) (string, error) {
	return func(ctx context.Context, c *clientv3.Client, t *tenant) (string, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		told := c.Watch(ctx, key(t), clientv3.WithPrefix(), clientv3.WithRev(1), clientv3.WithCreatedNotify())
		if resp, ok := <-told; ok {
			return fmt.Sprintf("created, %d events", len(resp.Events)), resp.Err()
		}
		return "", context.Cause(ctx)
	}
}

// try makes one attempt after the other until ctx ends.
func (p *prober) try(ctx context.Context) {
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	all := attempts()
	for n := 0; ctx.Err() == nil; n++ {
		p.once(ctx, all[n%len(all)], p.tenants[n/len(all)%len(p.tenants)])
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
}

// denied is what etcd says, of which the client leaves only the words where a
// watch is refused.
func denied(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || status.Code(err) == codes.PermissionDenied ||
		strings.Contains(err.Error(), rpctypes.ErrPermissionDenied.Error())
}

func (p *prober) once(ctx context.Context, a attempt, victim *tenant) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	at := history.Attempt{Client: "probe", What: a.what, At: p.rec.Now()}
	detail, err := a.try(call, p.client, victim)
	switch {
	case errors.Is(err, errNoLease):
		return
	case err == nil:
		at.Verdict, at.Detail = history.LetIn, victim.name+": "+detail
	case denied(err):
		at.Verdict = history.Kept
	default:
		at.Verdict, at.Detail = history.Nothing, err.Error()
	}
	p.rec.Attempt(at)
}
