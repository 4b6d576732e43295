package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
)

// living is one cluster that goes through all the changes, with a tenant.
type living struct {
	*mortal
	reached *reached
	cert    api.Certificate // root's
	root    *clientv3.Client
	tenant  *clientv3.Client
	id      cluster.ClusterID
	ids     map[string]cluster.MemberID // the present members
	rounds  int                         // how many values the tenant has written
}

// change is one scenario: what happens while no daemon runs, which nodes are
// then wanted, and what to look at at the end.
type change struct {
	name    string
	nodes   []int // the members at the end
	edit    bool  // by a new spec
	prepare func()
	act     func() bool // what is asked of the daemon; false when it died before it answered
	dead    func()      // more to look at when a daemon was killed
	check   func(before map[string]cluster.MemberID)
	walk    *walk
}

// walkChanges brings one cluster back and forth, so that each change finds it
// as the one before left it: three members that stay, and a fourth. Of four
// voters etcd lets one go that was connected only just now, of three it does
// not for 5 s. What takes long is a learner that joins by a snapshot: when the
// snapshot has its own announcement already, etcd misses that it was heard and
// serves nobody until it has repeated it, after 7 s.
func walkChanges(t *testing.T, r *reached, rnd *rand.Rand) {
	l := newLiving(t, r)
	rebuild, repair, remove, add, user := l.rebuild(), l.repair(), l.remove(), l.add(), l.removeUser()
	for {
		a, b, c, d, e := rebuild.walk.next(), repair.walk.next(), remove.walk.next(), add.walk.next(), user.walk.next()
		if a+b+c+d+e == 0 {
			break
		}
		l.round(rebuild, kill(a))
		l.round(repair, kill(b))
		l.round(user, kill(e))
		if c+d > 0 {
			l.round(remove, kill(c))
			l.round(add, kill(d))
		}
	}
	l.evictHung(add)
	for range 2 {
		for _, c := range []*change{rebuild, repair, remove, add, user} {
			l.round(c, c.walk.double(rnd))
		}
	}
}

// kill is a single kill after the n-th effect, or none when all are through.
func kill(n int) []int {
	if n == 0 {
		return nil
	}
	return []int{n}
}

func newLiving(t *testing.T, r *reached) *living {
	t.Helper()
	l := &living{mortal: &mortal{env: newEnv(t)}, reached: r}
	l.watch = func() {}
	l.Start()
	l.set(1, 2, 3)
	return l.grown(1, 2, 3, 4)
}

// grown brings a cluster to these members and gives it a tenant.
func (l *living) grown(nodes ...int) *living {
	l.t.Helper()
	l.Set(l.withSettings(l.settings, nodes...))
	l.CLI("etcd", "user-add", "app", "/app/")
	l.cert = l.RootCert()
	l.root, l.tenant = l.connect(l.cert, 1, 2, 3), l.connect(l.UserCert("app"), 1, 2, 3)
	l.id = l.Settled().ClusterID
	l.ids = l.checkCluster(l.root, nodes...)
	return l
}

// round goes through one change with these kills. A change whose effects are all
// through is made without any when it is needed to get on.
func (l *living) round(c *change, kills []int) {
	l.t.Helper()
	if len(kills) == 0 && !c.edit {
		return
	}
	l.Kill()
	began := time.Now()
	l.write()
	before := l.ids
	c.prepare()
	l.walk, l.act, l.dead = c.walk, c.act, func() { l.checkData(); c.dead() }
	var nodes []int
	if c.edit {
		nodes = c.nodes
	}
	l.crash(kills, nodes...)
	l.ids = l.checkCluster(l.root, c.nodes...)
	l.checkData()
	l.checkAuth(l.root, cluster.User{Name: "app", Prefix: "/app/"})
	l.checkSame()
	c.check(before)
	l.t.Logf("%s, kills %v: %s", c.name, kills, time.Since(began).Round(time.Millisecond))
	if l.t.Failed() {
		l.t.Fatalf("%s with kills %v", c.name, kills)
	}
}

// checkData checks that the tenant reads everything it wrote, daemon or not.
func (l *living) checkData() {
	l.t.Helper()
	var resp *clientv3.GetResponse
	l.ask("read as the tenant", func(ctx context.Context) (err error) {
		resp, err = l.tenant.Get(ctx, "/app/", clientv3.WithPrefix())
		return err
	})
	for _, kv := range resp.Kvs {
		if string(kv.Key) != "/app/"+string(kv.Value) {
			l.t.Errorf("%s = %s", kv.Key, kv.Value)
		}
	}
	if len(resp.Kvs) != l.rounds {
		l.t.Errorf("the tenant finds %d of %d values", len(resp.Kvs), l.rounds)
	}
}

// checkSame checks that it is still the cluster that was founded once.
func (l *living) checkSame() {
	l.t.Helper()
	if id := l.Status().ClusterID; id != l.id {
		l.t.Errorf("cluster id %s, was %s", id, l.id)
	}
	founded := 0
	for _, r := range l.History() {
		if r.Step != nil && r.Error == "" && (r.Step.Kind == plan.RecordBootstrap || r.Step.Kind == plan.FinishBootstrap) {
			founded++
		}
	}
	if founded != 2 {
		l.t.Errorf("%d steps of founding in history, want its begin and its end", founded)
	}
}

// authStaysOn is for changes that have nothing to do with authentication.
func (l *living) authStaysOn() {
	l.t.Helper()
	l.ask("ask for the auth status", func(ctx context.Context) error {
		s, err := l.root.AuthStatus(ctx)
		if err == nil && !s.Enabled {
			l.t.Error("authentication is off")
		}
		return err
	})
}

// others checks that every member but this node's is still the same.
func (l *living) others(before map[string]cluster.MemberID, node string) {
	l.t.Helper()
	for n, id := range before {
		if n != node && l.ids[n] != id {
			l.t.Errorf("the member on %s is %s, was %s", n, l.ids[n], id)
		}
	}
}

func (l *living) add() *change {
	return &change{
		name: "add", nodes: []int{1, 2, 3, 4}, edit: true, walk: newWalk(l.reached),
		prepare: func() {}, dead: l.authStaysOn,
		check: func(before map[string]cluster.MemberID) {
			l.others(before, "cp4")
			l.onlyData("cp4", l.ids["cp4"])
		},
	}
}

// remove takes out the leader.
func (l *living) remove() *change {
	return &change{
		name: "remove", nodes: []int{1, 2, 3}, edit: true, walk: newWalk(l.reached),
		prepare: func() { l.lead(4) }, dead: l.authStaysOn, check: l.hasLeft,
	}
}

// hasLeft checks that the fourth member is gone, with its data aside.
func (l *living) hasLeft(before map[string]cluster.MemberID) {
	l.t.Helper()
	l.others(before, "cp4")
	in, aside := l.dataDirs("cp4")
	its := func(path string) bool { return strings.HasPrefix(filepath.Base(path), before["cp4"].String()+"-") }
	if len(in) > 0 || !slices.ContainsFunc(aside, its) {
		l.t.Errorf("data of the removed member %s: in place %v, aside %v", before["cp4"], in, aside)
	}
	if _, err := os.Stat(filepath.Join(l.Dir, "nodes/cp4/etc/cke/etcd/main")); !errors.Is(err, fs.ErrNotExist) {
		l.t.Errorf("the certificates of the removed member: %v, want them gone", err)
	}
}

// evictHung removes a member that cannot learn of it: its process has to be
// stopped, where any other ends by itself. That one effect is walked here, for
// a hung member makes every look at the cluster slow.
func (l *living) evictHung(add *change) {
	l.t.Helper()
	const stop = "retire-member host.stop-unit"
	evict := &change{
		name: "evict", nodes: []int{1, 2, 3}, edit: true, walk: newWalk(l.reached),
		prepare: func() {
			l.lead(1)
			if err := syscall.Kill(l.members()["cp4"], syscall.SIGSTOP); err != nil {
				l.t.Fatal(err)
			}
		},
		dead: l.authStaysOn, check: l.hasLeft,
	}
	l.killAfter(evict, stop)
	l.round(add, nil)
}

// rebuild follows the loss of one member's data.
func (l *living) rebuild() *change {
	return &change{
		name: "rebuild", nodes: []int{1, 2, 3, 4}, walk: newWalk(l.reached),
		prepare: func() {
			l.killMember("cp4")
			l.wipe("cp4")
		},
		dead: l.authStaysOn,
		check: func(before map[string]cluster.MemberID) {
			l.others(before, "cp4")
			if l.ids["cp4"] == before["cp4"] {
				l.t.Errorf("member %s goes on without its data", before["cp4"])
			}
			l.onlyData("cp4", l.ids["cp4"])
		},
	}
}

// repair follows changes to users and roles behind CKE's back.
func (l *living) repair() *change {
	return &change{
		name: "repair", nodes: []int{1, 2, 3, 4}, walk: newWalk(l.reached),
		prepare: l.drift,
		dead: func() {
			// Authentication comes on again last: whoever has lost access by
			// then has lost it for good.
			l.ask("ask for the auth status", func(ctx context.Context) error {
				s, err := l.root.AuthStatus(ctx)
				if err == nil && s.Enabled {
					l.checkAuth(l.root, cluster.User{Name: "app", Prefix: "/app/"})
				}
				return err
			})
		},
		check: func(before map[string]cluster.MemberID) { l.others(before, "") },
	}
}

// drift gives the tenant more than it should have, takes the API server's user
// and role away, and turns authentication off.
func (l *living) drift() {
	l.t.Helper()
	for _, op := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := l.root.RoleGrantPermission(ctx, "app", "/evil/", "/evil0", clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func(ctx context.Context) error { _, err := l.root.UserGrantRole(ctx, "app", "root"); return err },
		func(ctx context.Context) error { _, err := l.root.RoleDelete(ctx, cluster.APIServerUser); return err },
		func(ctx context.Context) error { _, err := l.root.UserDelete(ctx, cluster.APIServerUser); return err },
		func(ctx context.Context) error { _, err := l.root.AuthDisable(ctx); return err },
	} {
		l.ask("change what CKE made", func(ctx context.Context) error {
			err := op(ctx)
			if errors.Is(err, rpctypes.ErrUserNotFound) || errors.Is(err, rpctypes.ErrRoleNotFound) {
				return nil // gone by the attempt before
			}
			return err
		})
	}
}

// lead makes a node's member the leader.
func (l *living) lead(node int) {
	l.t.Helper()
	to := uint64(l.ids[fmt.Sprintf("cp%d", node)])
	l.ask("move leadership", func(ctx context.Context) error {
		for i := 1; i <= 4; i++ {
			ep := "https://" + l.addr(i) + ":2379"
			s, err := l.root.Status(ctx, ep)
			if err != nil {
				return err
			}
			if s.Leader == to {
				return nil
			}
			if s.Leader == s.Header.MemberId {
				c := l.connect(l.cert, i)
				_, err := c.MoveLeader(ctx, to)
				_ = c.Close() // nothing was written
				return errors.Join(err, errors.New("look again"))
			}
		}
		return errors.New("no member leads")
	})
}

// onlyData checks that a node has this member's data and no other in place.
func (l *living) onlyData(node string, id cluster.MemberID) {
	l.t.Helper()
	in, _ := l.dataDirs(node)
	if len(in) != 1 || filepath.Base(in[0]) != id.String() {
		l.t.Errorf("%s has data %v, want that of member %s only", node, in, id)
	}
}
