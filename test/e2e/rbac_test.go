package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	epb "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"

	"cke/internal/cluster"
	"cke/test/drive"
)

// TestTenants: what a user of etcd may do, and what no user may.
func TestTenants(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Start()
	e.Set(e.withSettings(steady, 1, 2, 3)) // each call is made once, and another leader ends it
	e.CLI("etcd", "user-add", "app", "/app/")
	e.CLI("etcd", "user-add", "other", "/other/")
	for user, prefix := range map[string]string{"app": "/app/", "kube-apiserver": "/registry/"} {
		t.Run(user, func(t *testing.T) {
			e := e.in(t)
			x := tenant{e, user, prefix, e.connect(e.UserCert(user), 1, 2, 3)}
			t.Run("its keys", func(t *testing.T) { x.in(t).usesItsKeys() })
			t.Run("its locks", func(t *testing.T) { x.in(t).usesItsLocks() })
			t.Run("its leases", func(t *testing.T) { x.in(t).usesItsLeases() })
			t.Run("keys of others", func(t *testing.T) { x.in(t).isKeptOut() })
			t.Run("admin calls", func(t *testing.T) { x.in(t).isNoAdmin() })
			t.Run("open calls", func(t *testing.T) { x.in(t).seesWhatEtcdLeavesOpen() })
		})
	}
	t.Run("leases of others", func(t *testing.T) { leasesOfOthers(e.in(t)) })
	t.Run("every RPC is covered", everyRPCIsCovered)
	t.Run("passwords", func(t *testing.T) { nobodyHasAPassword(e.in(t)) })
	t.Run("nothing changed", func(t *testing.T) { usersAreAsMade(e.in(t)) })
	t.Run("compaction", func(t *testing.T) { etcdCompactsItself(e.in(t)) })
}

// tenant is one user with a connection of its own.
type tenant struct {
	*env
	user, prefix string
	c            *clientv3.Client
}

func (x tenant) in(t *testing.T) tenant { return tenant{x.env.in(t), x.user, x.prefix, x.c} }

func (x tenant) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
	x.t.Cleanup(cancel)
	return ctx
}

func (x tenant) grant(ttl int64) int64 {
	x.t.Helper()
	l, err := x.c.Grant(x.ctx(), ttl)
	if err != nil {
		x.t.Fatal(err)
	}
	return int64(l.ID)
}

func (x tenant) usesItsKeys() {
	t, lease := x.t, x.grant(600)
	calls := slices.Concat(keyCalls(x.prefix+"x", "", lease), keyCalls(x.prefix, cluster.PrefixRangeEnd(x.prefix), lease), keyCalls(x.prefix, "", lease))
	for _, c := range calls {
		if err := c.try(servicesOf(x.c)); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	put, err := x.c.Put(x.ctx(), x.prefix+"x", "seen")
	if err != nil {
		t.Fatal(err)
	}
	watch := x.c.Watch(x.ctx(), x.prefix, clientv3.WithPrefix(), clientv3.WithRev(put.Header.Revision))
	got, err := x.c.Get(x.ctx(), x.prefix+"x")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "seen" {
		t.Errorf("read back: %v %v", got, err)
	}
	if w := <-watch; w.Err() != nil || len(w.Events) != 1 || string(w.Events[0].Kv.Value) != "seen" {
		t.Errorf("watch: %+v", w)
	}
}

func (x tenant) usesItsLocks() {
	s, lease, n := servicesOf(x.c), x.grant(600), []byte(x.prefix+"lock")
	l, err := s.lock.Lock(x.ctx(), &lpb.LockRequest{Name: n, Lease: lease})
	if err != nil {
		x.t.Fatalf("lock: %v", err)
	}
	if _, err := s.lock.Unlock(x.ctx(), &lpb.UnlockRequest{Key: l.Key}); err != nil {
		x.t.Errorf("unlock: %v", err)
	}
	won, err := s.election.Campaign(x.ctx(), &epb.CampaignRequest{Name: n, Lease: lease, Value: []byte("me")})
	if err != nil {
		x.t.Fatalf("campaign: %v", err)
	}
	if a, err := s.election.Leader(x.ctx(), &epb.LeaderRequest{Name: n}); err != nil || string(a.Kv.Value) != "me" {
		x.t.Errorf("leader: %v %v", a, err)
	}
	if err := first(s.election.Observe(x.ctx(), &epb.LeaderRequest{Name: n})); err != nil {
		x.t.Errorf("observe: %v", err)
	}
	if _, err := s.election.Resign(x.ctx(), &epb.ResignRequest{Leader: won.Leader}); err != nil {
		x.t.Errorf("resign: %v", err)
	}
}

func (x tenant) usesItsLeases() {
	t := x.t
	long := clientv3.LeaseID(x.grant(600))
	put, err := x.c.Put(x.ctx(), x.prefix+"leased", "v", clientv3.WithLease(long))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := x.c.KeepAliveOnce(x.ctx(), long); err != nil || a.TTL != 600 {
		t.Errorf("keepalive: %v %v", a, err)
	}
	if a, err := x.c.TimeToLive(x.ctx(), long, clientv3.WithAttachedKeys()); err != nil || len(a.Keys) != 1 {
		t.Errorf("time to live: %v %v", a, err)
	}
	watch := x.c.Watch(x.ctx(), x.prefix, clientv3.WithPrefix(), clientv3.WithRev(put.Header.Revision+1))
	if _, err := x.c.Revoke(x.ctx(), long); err != nil {
		t.Errorf("revoke: %v", err)
	}
	if w := <-watch; len(w.Events) != 1 || w.Events[0].Type != clientv3.EventTypeDelete {
		t.Errorf("revoking the lease did not remove its key: %+v", w)
	}
	short := clientv3.LeaseID(x.grant(5)) // it must not expire before it is used
	if _, err := x.c.Put(x.ctx(), x.prefix+"short", "v", clientv3.WithLease(short)); err != nil {
		t.Fatal(err)
	}
	for w := range watch {
		if w.Err() != nil {
			t.Fatalf("the key of an expiring lease: %v", w.Err())
		}
		if w.Events[len(w.Events)-1].Type == clientv3.EventTypeDelete {
			return
		}
	}
	t.Error("the watch ended before the lease expired")
}

// isKeptOut tries keys and ranges that are not, or not all, below the prefix.
func (x tenant) isKeptOut() {
	lease := x.grant(600)
	p := strings.TrimSuffix(x.prefix, "/")
	after := cluster.PrefixRangeEnd(x.prefix)
	var calls []call
	for _, key := range []string{"/other", "/other/x", p[:len(p)-1], p, p + "x", after, after + "x", "/", "\x00", "\xff", "x"} {
		calls = append(calls, keyCalls(key, "", lease)...)
	}
	for _, foreign := range []string{"/app/x", "/registry/x"} {
		if !strings.HasPrefix(foreign, x.prefix) {
			calls = append(calls, keyCalls(foreign, "", lease)...)
		}
	}
	for _, r := range [][2]string{
		{x.prefix, after + "\x00"}, {x.prefix, p + "1"}, {p, after}, {p, p + "/x"}, {x.prefix + "x", "\x00"},
		{"\x00", "\x00"}, {"/", "0"}, {"/other/", "/other0"}, {x.prefix, "\xff"},
	} {
		calls = append(calls, keyCalls(r[0], r[1], lease)...)
	}
	x.allDenied(append(calls, namedCalls("/other/lock", lease)...))
}

func (x tenant) allDenied(calls []call) {
	s := servicesOf(x.c)
	for _, c := range calls {
		if err := c.try(s); !denied(err) {
			x.t.Errorf("%s: %v, want it refused: permission denied", c, err)
		}
	}
}

func (x tenant) isNoAdmin() { x.allDenied(adminCalls(uint64(x.MemberID("cp1")))) }

func (x tenant) seesWhatEtcdLeavesOpen() {
	for _, c := range openCalls(x.user) {
		if err := c.try(servicesOf(x.c)); err != nil {
			x.t.Errorf("%s: %v", c, err)
		}
	}
}

// everyRPCIsCovered fails when etcd serves something these tests do not try.
func everyRPCIsCovered(t *testing.T) {
	tried := map[string]bool{
		"etcdserverpb.Auth/Authenticate": true, // nobodyHasAPassword
		"etcdserverpb.Lease/LeaseGrant":  true, // these in usesItsLeases and leasesOfOthers
		"etcdserverpb.Lease/LeaseRevoke": true, "etcdserverpb.Lease/LeaseKeepAlive": true,
		"etcdserverpb.Lease/LeaseTimeToLive": true, "etcdserverpb.Lease/LeaseLeases": true,
	}
	for _, c := range slices.Concat(adminCalls(1), openCalls("app"), keyCalls("k", "", 1), namedCalls("n", 1)) {
		tried[c.rpc] = true
	}
	all := rpcs()
	for _, rpc := range all {
		if !tried[rpc] {
			t.Errorf("%s is not tried", rpc)
		}
	}
	for rpc := range tried {
		if !slices.Contains(all, rpc) {
			t.Errorf("etcd serves no %s", rpc)
		}
	}
}

func nobodyHasAPassword(e *env) {
	s := servicesOf(e.connect(e.UserCert("app"), 1))
	for _, user := range []string{"root", "other", "app", "kube-apiserver", "nobody"} {
		for _, password := range []string{"", "x", user} {
			ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
			a, err := s.auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: user, Password: password})
			cancel()
			if err == nil || a != nil {
				e.t.Errorf("%s logs in with password %q: %v %v", user, password, a, err)
			}
		}
	}
}

// usersAreAsMade: every attempt before left etcd as CKE made it.
func usersAreAsMade(e *env) {
	t := e.t
	ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
	defer cancel()
	root := e.connect(e.RootCert(), 1, 2, 3)
	if a, err := root.AuthStatus(ctx); err != nil || !a.Enabled {
		t.Errorf("authentication: %v %v", a, err)
	}
	prefixes := map[string]string{"app": "/app/", "other": "/other/", "kube-apiserver": "/registry/", "root": ""}
	users, err := root.UserList(ctx)
	if err != nil || len(users.Users) != len(prefixes) {
		t.Errorf("users: %v %v", users, err)
	}
	for user, prefix := range prefixes {
		if u, err := root.UserGet(ctx, user); err != nil || !slices.Equal(u.Roles, []string{user}) {
			t.Errorf("user %s: %v %v", user, u, err)
		}
		r, err := root.RoleGet(ctx, user)
		if err != nil {
			t.Errorf("role %s: %v", user, err)
			continue
		}
		var perms []string
		for _, p := range r.Perm {
			perms = append(perms, fmt.Sprintf("%s %q %q", p.PermType, p.Key, p.RangeEnd))
		}
		want := []string{fmt.Sprintf("READWRITE %q %q", prefix, cluster.PrefixRangeEnd(prefix))}
		if user != "root" && !slices.Equal(perms, want) {
			t.Errorf("role %s has %v, want %v", user, perms, want)
		}
	}
	if m, err := root.MemberList(ctx); err != nil || len(m.Members) != 3 {
		t.Errorf("members: %v %v", m, err)
	}
	if a, err := root.AlarmList(ctx); err != nil || len(a.Alarms) != 0 {
		t.Errorf("alarms: %v %v", a, err)
	}
}

func etcdCompactsItself(e *env) {
	for node, pid := range e.members() {
		b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "cmdline"))
		if err != nil {
			e.t.Fatal(err)
		}
		args := strings.Split(string(b), "\x00")
		for _, want := range []string{"--auto-compaction-mode=periodic", "--auto-compaction-retention=5m", "--enable-grpc-gateway=false", "--client-cert-auth=true"} {
			if !slices.Contains(args, want) {
				e.t.Errorf("etcd on %s runs without %s: %v", node, want, args)
			}
		}
	}
	if n := len(e.members()); n != 3 {
		e.t.Errorf("%d members run", n)
	}
}
