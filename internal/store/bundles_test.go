package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

func bundle(user, namespace, name string) cluster.Bundle {
	return cluster.Bundle{User: user, Namespace: namespace, Name: name, TTL: cluster.DefaultBundleTTL}
}

// withUsers opens a store with a cluster that has these tenants.
func withUsers(t *testing.T, o Options, names ...string) *Store {
	t.Helper()
	s := open(t, o)
	put(t, s, spec("main", 1))
	for _, n := range names {
		if _, err := s.AddUser(t.Context(), "main", cluster.User{Name: n, Prefix: "/" + n + "/"}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestAddBundle(t *testing.T) {
	s := withUsers(t, testOptions(t), "app", "web")
	ctx := t.Context()
	if _, err := s.AddBundle(ctx, "other", bundle("app", "shop", "etcd")); !errors.Is(err, ErrNotFound) {
		t.Errorf("no cluster: %v", err)
	}
	longer := bundle("app", "shop", "etcd")
	longer.TTL += units.Duration(time.Hour)
	for _, c := range []struct {
		b    cluster.Bundle
		want int
	}{
		{bundle("app", "shop", "etcd"), ok},
		{bundle("app", "shop", "etcd"), there},
		{longer, taken},
		{bundle("web", "shop", "etcd"), taken},
		{bundle("web", "shop", "etcd2"), ok},
		{bundle("app", "shop2", "etcd"), ok},
		{bundle("nobody", "shop", "etcd3"), invalid},
		{bundle("root", "shop", "etcd3"), invalid},
		{bundle(cluster.APIServerUser, "shop", "etcd3"), invalid},
		{bundle("app", "a/b", "etcd"), invalid},
		{bundle("app", "shop", "a/b"), invalid},
		{bundle("app", "shop", ""), invalid},
	} {
		created, err := s.AddBundle(ctx, "main", c.b)
		var have *BundleExistsError
		got := invalid
		switch {
		case errors.As(err, &have):
			got = taken
			equal(t, "have", have.Have, bundle("app", "shop", "etcd"))
		case err == nil && created:
			got = ok
		case err == nil:
			got = there
		}
		if got != c.want {
			t.Errorf("%+v: %v, %v", c.b, created, err)
		}
	}
	snap, err := s.Load(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "bundles", snap.Bundles, []cluster.Bundle{
		bundle("app", "shop", "etcd"), bundle("web", "shop", "etcd2"), bundle("app", "shop2", "etcd"),
	})
}

func TestABundleGoesInTwoSteps(t *testing.T) {
	s := withUsers(t, testOptions(t), "app", "web")
	ctx := t.Context()
	var unknown *UnknownBundleError
	if _, err := s.RemoveBundle(ctx, "main", "shop", "etcd"); !errors.As(err, &unknown) || unknown.Key != "shop/etcd" {
		t.Errorf("none there: %v", err)
	}
	if _, err := s.RemoveBundle(ctx, "other", "shop", "etcd"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no cluster: %v", err)
	}
	if _, err := s.AddBundle(ctx, "main", bundle("app", "shop", "etcd")); err != nil {
		t.Fatal(err)
	}
	if err := s.ForgetBundle(ctx, "main", "shop", "etcd"); err != nil {
		t.Fatal(err)
	}
	want := bundle("app", "shop", "etcd")
	equal(t, "forgotten before it was removed", bundles(t, s), []cluster.Bundle{want})
	for range 2 {
		got, err := s.RemoveBundle(ctx, "main", "shop", "etcd")
		want.Removing = true
		if err != nil || got != want {
			t.Fatalf("%+v, %v", got, err)
		}
		equal(t, "removed", bundles(t, s), []cluster.Bundle{want})
	}

	// Another user may have the Secret that is about to go; then it does not go.
	if created, err := s.AddBundle(ctx, "main", bundle("web", "shop", "etcd")); err != nil || !created {
		t.Fatalf("taken over: %v, %v", created, err)
	}
	if err := s.ForgetBundle(ctx, "main", "shop", "etcd"); err != nil {
		t.Fatal(err)
	}
	equal(t, "taken over", bundles(t, s), []cluster.Bundle{bundle("web", "shop", "etcd")})
	if _, err := s.RemoveBundle(ctx, "main", "shop", "etcd"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.ForgetBundle(ctx, "main", "shop", "etcd"); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "gone", bundles(t, s), []cluster.Bundle{})
}

func bundles(t *testing.T, s *Store) []cluster.Bundle {
	t.Helper()
	snap, err := s.Load(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	return snap.Bundles
}

// TestNoBundleOutlivesItsUser adds bundles while their user is removed: however
// they come, each is refused or on its way out at the end.
func TestNoBundleOutlivesItsUser(t *testing.T) {
	s := withUsers(t, testOptions(t), "app", "web")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			var unknown *UnknownUserError
			for _, user := range []string{"app", "web"} {
				_, err := s.AddBundle(t.Context(), "main", bundle(user, "shop", fmt.Sprintf("%s-%d", user, i)))
				if err != nil && (user == "web" || !errors.As(err, &unknown)) {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		if _, err := s.RemoveUser(t.Context(), "main", "app"); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	count := 0
	for _, b := range bundles(t, s) {
		if b.Removing != (b.User == "app") {
			t.Errorf("%+v", b)
		}
		if b.User == "web" {
			count++
		}
	}
	if count != 20 {
		t.Errorf("the other user has %d bundles", count)
	}
}

func TestRemoveUser(t *testing.T) {
	o := testOptions(t)
	now := time.Unix(1700000000, 0).UTC()
	o.Now = func() time.Time { return now }
	s := withUsers(t, o, "app", "app2")
	ctx := t.Context()
	for _, b := range []cluster.Bundle{bundle("app", "a", "x"), bundle("app", "b", "x"), bundle("app2", "c", "x")} {
		if _, err := s.AddBundle(ctx, "main", b); err != nil {
			t.Fatal(err)
		}
	}
	var unknown *UnknownUserError
	for _, name := range []string{"nobody", cluster.RootUser, cluster.APIServerUser} {
		if _, err := s.RemoveUser(ctx, "main", name); !errors.As(err, &unknown) || unknown.User != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.RemoveUser(ctx, "other", "app"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no cluster: %v", err)
	}
	gone, err := s.RemoveUser(ctx, "main", "app")
	if err != nil {
		t.Fatal(err)
	}
	removing := []cluster.Bundle{bundle("app", "a", "x"), bundle("app", "b", "x")}
	removing[0].Removing, removing[1].Removing = true, true
	equal(t, "its bundles", gone, removing)
	snap, err := s.Load(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	first := cluster.RemovedUser{User: cluster.User{Name: "app", Prefix: "/app/"}, At: now}
	equal(t, "users", snap.Users, []cluster.User{{Name: "app2", Prefix: "/app2/"}})
	equal(t, "removed", snap.RemovedUsers, []cluster.RemovedUser{first})
	equal(t, "bundles", snap.Bundles, slices.Concat(removing, []cluster.Bundle{bundle("app2", "c", "x")}))

	// Added again it is nobody who was removed, and another prefix is as good.
	if created, err := s.AddUser(ctx, "main", cluster.User{Name: "app", Prefix: "/new/"}); err != nil || !created {
		t.Fatalf("added again: %v, %v", created, err)
	}
	if snap, err = s.Load(ctx, "main"); err != nil || len(snap.RemovedUsers) > 0 {
		t.Errorf("removed still: %v, %v", snap.RemovedUsers, err)
	}

	// Who has seen the first removal does not drop the second.
	now = now.Add(time.Second)
	if _, err := s.RemoveUser(ctx, "main", "app"); err != nil {
		t.Fatal(err)
	}
	if err := s.ForgetUser(ctx, "main", first); err != nil {
		t.Fatal(err)
	}
	snap, err = s.Load(ctx, "main")
	second := cluster.RemovedUser{User: cluster.User{Name: "app", Prefix: "/new/"}, At: now}
	if err != nil || !slices.Equal(snap.RemovedUsers, []cluster.RemovedUser{second}) {
		t.Errorf("removed: %v, %v", snap.RemovedUsers, err)
	}
	for range 2 {
		if err := s.ForgetUser(ctx, "main", snap.RemovedUsers[0]); err != nil {
			t.Fatal(err)
		}
	}
	if snap, err = s.Load(ctx, "main"); err != nil || len(snap.RemovedUsers) > 0 {
		t.Errorf("forgotten: %v, %v", snap.RemovedUsers, err)
	}
}

// Whoever waits for a change is woken by these too.
func TestWatchTellsOfBundlesAndRemovals(t *testing.T) {
	s := withUsers(t, testOptions(t), "app")
	ctx := t.Context()
	changes, err := s.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddBundle(ctx, "main", bundle("app", "shop", "etcd")); err != nil {
		t.Fatal(err)
	}
	if got := <-changes; got != "main" {
		t.Errorf("added: %q", got)
	}
	if _, err := s.RemoveUser(ctx, "main", "app"); err != nil {
		t.Fatal(err)
	}
	if got := <-changes; got != "main" {
		t.Errorf("removed: %q", got)
	}
}
