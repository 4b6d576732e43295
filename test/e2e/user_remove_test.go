package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/test/drive"
)

// TestUserRemoved: the certificates of a removed user open nothing, nobody else
// notices, its keys stay, and one of the same name made by hand later is left alone.
func TestUserRemoved(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Start()
	e.Set(e.withSettings(steady, 1, 2, 3)) // each call is made once, and another leader ends it
	e.CLI("etcd", "user-add", "app", "/app/")
	e.CLI("etcd", "user-add", "other", "/other/")
	e.CLI("kubernetes", "bundle", "add", "app", "--namespace", "shop")
	e.CLI("kubernetes", "bundle", "add", "other", "--namespace", "shop")
	cert := e.UserCert("app")
	app, other, root := e.connect(cert, 1, 2, 3), e.connect(e.UserCert("other"), 1, 2, 3), e.connect(e.RootCert(), 1, 2, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 5*drive.Patience) // for all that follows
	t.Cleanup(cancel)
	write(ctx, t, app, "/app/x")
	write(ctx, t, other, "/other/x")
	out := e.CLI("etcd", "user-remove", "app")
	for _, want := range []string{"user app removed", "the keys under /app/ stay"} {
		if !strings.Contains(out, want) {
			t.Errorf("user-remove does not say %q:\n%s", want, out)
		}
	}
	e.allFollow(1, 2, 3)
	// A connection of its own, and the one that was open: both are refused.
	for name, c := range map[string]*clientv3.Client{"open": app, "new": e.connect(cert, 1, 2, 3)} {
		for _, call := range slices.Concat(keyCalls("/app/x", "", 0), keyCalls("/app/", "/app0", 0)) {
			if err := call.try(servicesOf(c)); !denied(err) {
				t.Errorf("%s, over the %s connection: %v, want it refused", call, name, err)
			}
		}
	}
	write(ctx, t, other, "/other/x")
	if r, err := root.Get(ctx, "/app/x"); err != nil || len(r.Kvs) != 1 {
		t.Errorf("the removed user's key: %v %v", r, err)
	}
	wantUsers(ctx, t, root, "kube-apiserver", "other", "root")
	e.ends(1, "there is no user", "etcd", "issue", "app")
	e.ends(1, "there is no user", "etcd", "user-remove", "app")
	e.ends(3, "every cluster has it", "etcd", "user-remove", "root")
	e.ends(3, "every cluster has it", "etcd", "user-remove", "kube-apiserver")
	// No Kubernetes has a Secret of it, so nothing waits for one to go.
	if out := e.CLI("kubernetes", "bundle", "list"); strings.Contains(out, "etcd-app") || strings.Count(out, "not published") != 1 {
		t.Errorf("bundles:\n%s", out)
	}
	t.Run("made by hand", func(t *testing.T) { madeByHandStays(ctx, e.in(t), root) })
	t.Run("added again", func(t *testing.T) { removedMayComeBack(ctx, e.in(t), app, root) })
	t.Run("no quorum", func(t *testing.T) { isNotRemovedWithoutQuorum(e.in(t)) })
}

// allFollow waits until each of these nodes' members has applied what was done so far.
func (e *env) allFollow(nodes ...int) {
	e.t.Helper()
	cert := e.RootCert()
	for _, i := range nodes {
		c := e.connect(cert, i)
		e.Eventually(fmt.Sprintf("cp%d has applied all", i), func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_, err := c.Get(ctx, "/") // linearizable
			return err
		})
	}
}

func write(ctx context.Context, t *testing.T, c *clientv3.Client, key string) {
	t.Helper()
	if _, err := c.Put(ctx, key, "v"); err != nil {
		t.Errorf("write %s: %v", key, err)
	}
}

// wantUsers checks that etcd has these users, and roles of their names, and no
// others.
func wantUsers(ctx context.Context, t *testing.T, root *clientv3.Client, want ...string) {
	t.Helper()
	users, err := root.UserList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	roles, err := root.RoleList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(users.Users)
	slices.Sort(roles.Roles)
	if !slices.Equal(users.Users, want) || !slices.Equal(roles.Roles, want) {
		t.Errorf("users %v, roles %v, want %v", users.Users, roles.Roles, want)
	}
}

// ends runs a command that ends with this code and says why.
func (e *env) ends(code int, why string, args ...string) {
	e.t.Helper()
	if r := e.Run("ckecli", args...); r.Code != code || !strings.Contains(r.Stderr, why) {
		e.t.Errorf("ckecli %s: exit %d, want %d and %q\n%s", strings.Join(args, " "), r.Code, code, why, r.Stderr)
	}
}

func madeByHandStays(ctx context.Context, e *env, root *clientv3.Client) {
	if _, err := root.UserAddWithOptions(ctx, "app", "", &clientv3.UserAddOptions{NoPassword: true}); err != nil {
		e.t.Fatal(err)
	}
	e.Eventually("the plan tells of it", func() error {
		if out := e.CLI("plan"); !strings.Contains(out, `etcd user "app" with roles [] was not made by CKE and is left alone`) {
			return errors.New(out)
		}
		return nil
	})
	e.lookTwice()
	if _, err := root.UserGet(ctx, "app"); err != nil {
		e.t.Errorf("a user that was made by hand: %v", err)
	}
	if _, err := root.UserDelete(ctx, "app"); err != nil {
		e.t.Fatal(err)
	}
}

// removedMayComeBack: with another prefix, even; old certificates carry its name.
func removedMayComeBack(ctx context.Context, e *env, app, root *clientv3.Client) {
	e.CLI("etcd", "user-add", "app", "/app2/")
	write(ctx, e.t, app, "/app2/x")
	if _, err := app.Get(ctx, "/app/x"); err == nil || err.Error() != refusal {
		e.t.Errorf("its old keys: %v, want it refused", err)
	}
	// What is being removed may be removed again, and be added, all at once.
	for range 3 {
		e.CLI("etcd", "user-remove", "app")
		e.CLI("etcd", "user-add", "app", "/app/")
		write(ctx, e.t, app, "/app/x")
	}
	e.CLI("etcd", "user-remove", "app")
	wantUsers(ctx, e.t, root, "kube-apiserver", "other", "root")
}

func isNotRemovedWithoutQuorum(e *env) {
	e.CLI("pause")
	e.killMember("cp1")
	e.killMember("cp2")
	e.Eventually("the loss of quorum is seen", func() error {
		if s := e.Status(); s.Quorum {
			return errors.New("it has quorum")
		}
		return nil
	})
	e.ends(3, "no quorum", "etcd", "user-remove", "other")
	e.CLI("resume")
	e.Settled()
	if out := e.CLI("etcd", "user-list"); !strings.Contains(out, "other") {
		e.t.Errorf("users:\n%s", out)
	}
}

// TestUserRemovedWhileItWatches: etcd asks who may watch when a watch begins and not
// again. One that a removed user has open goes on, as the guide says, and ends with
// its connection.
func TestUserRemovedWhileItWatches(t *testing.T) {
	t.Parallel()
	e := newCluster(t, 1)
	e.CLI("etcd", "user-add", "app", "/app/")
	app, root := e.connect(e.UserCert("app"), 1), e.connect(e.RootCert(), 1)
	ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
	t.Cleanup(cancel)
	watch := app.Watch(ctx, "/app/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if w := <-watch; !w.Created {
		t.Fatalf("watch: %+v", w)
	}
	e.CLI("etcd", "user-remove", "app")
	if _, err := root.Put(ctx, "/app/x", "after"); err != nil {
		t.Fatal(err)
	}
	if w := <-watch; w.Err() != nil || len(w.Events) != 1 {
		t.Errorf("the open watch: %+v; if etcd ends it, the guide and ckecli etcd user-remove --help say too little", w)
	}
	if w := <-app.Watch(ctx, "/app/", clientv3.WithPrefix()); w.Err() == nil || !w.Canceled {
		t.Errorf("a new watch: %+v, want it refused", w)
	}
	e.killMember("cp1")
	for w := range watch {
		if len(w.Events) > 0 {
			t.Errorf("after the connection had ended the watch went on: %+v", w)
		}
		if w.Canceled && denied(watchError(w.Err().Error())) {
			return
		}
	}
	t.Error("the watch was not refused when its connection had ended")
}
