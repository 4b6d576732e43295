package e2e

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// leaseCalls use one lease, and a key of the caller's own.
func leaseCalls(id int64, key string) map[string]call {
	return map[string]call{
		"revoke": {"etcdserverpb.Lease/LeaseRevoke", "", func(ctx context.Context, s services) error {
			return only(s.lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id}))
		}},
		"keep alive": {"etcdserverpb.Lease/LeaseKeepAlive", "", func(ctx context.Context, s services) error {
			k, err := s.lease.LeaseKeepAlive(ctx)
			if err != nil {
				return err
			}
			if err := k.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
				return err
			}
			return only(k.Recv())
		}},
		"attach": {"etcdserverpb.KV/Put", "with a lease", func(ctx context.Context, s services) error {
			return only(s.kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Lease: id}))
		}},
		"time to live": {"etcdserverpb.Lease/LeaseTimeToLive", "", func(ctx context.Context, s services) error {
			return only(s.lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id}))
		}},
		"keys": {"etcdserverpb.Lease/LeaseTimeToLive", "with keys", func(ctx context.Context, s services) error {
			return only(s.lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true}))
		}},
		"list": {"etcdserverpb.Lease/LeaseLeases", "", func(ctx context.Context, s services) error {
			return only(s.lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{}))
		}},
	}
}

// leasesOfOthers: a lease belongs to whoever may write the keys on it, so one
// with keys is safe from others, but for how long it still lives. One without
// keys is anybody's, which etcd has no answer to: the guide says so.
func leasesOfOthers(e *env) {
	t := e.t
	other := tenant{e, "other", "/other/", e.connect(e.UserCert("other"), 1)}
	cert := e.UserCert("app")
	held := other.grant(600)
	put, err := other.c.Put(other.ctx(), "/other/leased", "v", clientv3.WithLease(clientv3.LeaseID(held)))
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ { // some is the leader, some are not
		app := tenant{e, "app", "/app/", e.connect(cert, i)}
		app.caughtUp(put.Header.Revision)
		for what, c := range leaseCalls(held, "/app/attached") {
			err := c.try(servicesOf(app.c))
			if what == "time to live" {
				if err != nil {
					t.Errorf("cp%d: %s: %v; the guide says that anybody may ask", i, what, err)
				}
			} else if !denied(err) {
				t.Errorf("cp%d: %s of another's lease: %v, want it refused", i, what, err)
			}
		}
	}
	if got, err := other.c.Get(other.ctx(), "/other/leased"); err != nil || len(got.Kvs) != 1 {
		t.Errorf("the other's leased key: %v %v", got, err)
	}
	if _, err := other.c.Revoke(other.ctx(), clientv3.LeaseID(held)); err != nil {
		t.Errorf("its owner cannot revoke it: %v", err)
	}

	app := tenant{e, "app", "/app/", e.connect(cert, 1)}
	for _, what := range []string{"time to live", "keys", "keep alive", "list", "attach", "revoke"} {
		bare := other.grant(600)
		if err := leaseCalls(bare, "/app/attached")[what].try(servicesOf(app.c)); err != nil {
			t.Errorf("%s of a lease without keys: %v; the guide says that it is anybody's", what, err)
		}
	}
}

// caughtUp waits until the member this client speaks to has a revision.
func (x tenant) caughtUp(revision int64) {
	x.t.Helper()
	got, err := x.c.Get(x.ctx(), x.prefix) // linearizable
	if err != nil || got.Header.Revision < revision {
		x.t.Fatalf("the member is behind revision %d: %v %v", revision, got, err)
	}
}
