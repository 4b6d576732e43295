package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"cke/internal/cluster"
)

// What AddUser may answer.
const (
	ok = iota
	there
	taken
	overlaps
	invalid
)

type userCase struct {
	user  cluster.User
	want  int
	other string
}

// userCases are added, in this order, to a cluster that has app.
func userCases(app cluster.User) []userCase {
	return []userCase{
		{app, there, ""},
		{cluster.User{Name: "app", Prefix: "/app2/"}, taken, "app"},
		{cluster.User{Name: "x", Prefix: "/app/"}, overlaps, "app"},
		{cluster.User{Name: "x", Prefix: "/app/x/"}, overlaps, "app"},
		{cluster.User{Name: "x", Prefix: "/ap"}, overlaps, "app"},
		{cluster.User{Name: "x", Prefix: "/"}, overlaps, cluster.APIServerUser},
		{cluster.User{Name: "x", Prefix: ""}, overlaps, cluster.APIServerUser},
		{cluster.User{Name: "x", Prefix: "/registry/pods/"}, overlaps, cluster.APIServerUser},
		{cluster.User{Name: "root", Prefix: "/root/"}, taken, "root"},
		{cluster.User{Name: "root"}, taken, "root"},
		{cluster.User{Name: cluster.APIServerUser, Prefix: "/k/"}, taken, cluster.APIServerUser},
		{cluster.User{Name: cluster.APIServerUser, Prefix: cluster.APIServerPath}, there, ""},
		{cluster.User{Name: "a/b", Prefix: "/ab/"}, invalid, ""},
		{cluster.User{Name: "", Prefix: "/ab/"}, invalid, ""},
		{cluster.User{Name: "app2", Prefix: "/app2/"}, ok, ""},
		{cluster.User{Name: "deep", Prefix: "/reg"}, overlaps, cluster.APIServerUser},
		{cluster.User{Name: "near", Prefix: "/registrar/"}, ok, ""},
	}
}

func TestAddUser(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	app := cluster.User{Name: "app", Prefix: "/app/"}
	if _, err := s.AddUser(ctx, "main", app); !errors.Is(err, ErrNotFound) {
		t.Errorf("no cluster: %v", err)
	}
	put(t, s, spec("main", 1))
	put(t, s, spec("other", 1))
	for range 2 {
		if created, err := s.AddUser(ctx, "other", cluster.User{Name: "app", Prefix: "/"}); created {
			t.Errorf("a prefix over kube-apiserver's: %v", err)
		}
	}
	if created, err := s.AddUser(ctx, "main", app); err != nil || !created {
		t.Fatalf("app: %v, %v", created, err)
	}
	for _, c := range userCases(app) {
		created, err := s.AddUser(ctx, "main", c.user)
		var have *UserExistsError
		var over *OverlapError
		got := invalid
		switch {
		case errors.As(err, &have):
			got = taken
			equal(t, "have", have.Have.Name, c.other)
		case errors.As(err, &over):
			got = overlaps
			equal(t, "other", over.Other.Name, c.other)
		case err == nil && created:
			got = ok
		case err == nil:
			got = there
		}
		if got != c.want {
			t.Errorf("%+v: %v, %v", c.user, created, err)
		}
	}
	users, err := s.Users(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "users", users, []cluster.User{app, {Name: "app2", Prefix: "/app2/"}, {Name: "near", Prefix: "/registrar/"}})
}

// TestUsersNeverOverlapHoweverTheyCome adds, all at once, users of whom any two
// of a group overlap. One of each group may get in.
func TestUsersNeverOverlapHoweverTheyCome(t *testing.T) {
	s := open(t, testOptions(t))
	put(t, s, spec("main", 1))
	const groups, each = 8, 6
	var wg sync.WaitGroup
	for g := range groups {
		for i := range each {
			u := cluster.User{Name: fmt.Sprintf("u%d-%d", g, i), Prefix: fmt.Sprintf("/g%d/%s", g, "xxxxxx"[:i])}
			wg.Go(func() {
				var over *OverlapError
				created, err := s.AddUser(t.Context(), "main", u)
				if err != nil && !errors.As(err, &over) || err == nil && !created {
					t.Errorf("%v: %v, %v", u, created, err)
				}
			})
		}
	}
	wg.Wait()
	users, err := s.Users(t.Context(), "main")
	if err != nil || len(users) != groups {
		t.Errorf("%d users, %v", len(users), err)
	}
	for i, a := range users {
		for _, b := range users[i+1:] {
			if cluster.Overlaps(a.Prefix, b.Prefix) {
				t.Errorf("%v and %v overlap", a, b)
			}
		}
	}
}

func TestTheSameUserAddedManyTimesIsCreatedOnce(t *testing.T) {
	s := open(t, testOptions(t))
	put(t, s, spec("main", 1))
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := 0
	for range 30 {
		wg.Go(func() {
			created, err := s.AddUser(t.Context(), "main", cluster.User{Name: "app", Prefix: "/app/"})
			if err != nil {
				t.Error(err)
			}
			if created {
				mu.Lock()
				count++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if count != 1 {
		t.Errorf("created %d times", count)
	}
}
