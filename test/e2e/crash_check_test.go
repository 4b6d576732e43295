package e2e

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
)

// checkCluster checks that exactly these nodes carry started voters, each with
// its process, and returns their ids by node.
func (m *mortal) checkCluster(root *clientv3.Client, nodes ...int) map[string]cluster.MemberID {
	m.t.Helper()
	want := map[string]string{} // peer URL → node
	for _, i := range nodes {
		want["https://"+m.addr(i)+":2380"] = fmt.Sprintf("cp%d", i)
	}
	var list *clientv3.MemberListResponse
	m.ask("list the members", func(ctx context.Context) (err error) {
		list, err = root.MemberList(ctx)
		return err
	})
	ids := map[string]cluster.MemberID{}
	for _, member := range list.Members {
		node := want[member.PeerURLs[0]]
		if node == "" || member.Name != node || member.IsLearner {
			m.t.Errorf("an orphan member: %v", member)
		}
		ids[node] = cluster.MemberID(member.ID)
	}
	if len(ids) != len(nodes) || len(list.Members) != len(nodes) {
		m.t.Errorf("members %v, want them on %v", list.Members, slices.Sorted(maps.Values(want)))
	}
	running := slices.Sorted(maps.Keys(m.members()))
	if !slices.Equal(running, slices.Sorted(maps.Values(want))) {
		m.t.Errorf("processes on %v, want them on %v", running, want)
	}
	m.Until("the status is of that", func(s api.Status) error { // one look may come to nothing
		if !s.AuthOn || len(s.Nodes) != len(nodes) || uint64(s.ClusterID) != list.Header.ClusterId {
			return fmt.Errorf("status: auth %v, %d nodes, cluster %s; want on, %d, %x", s.AuthOn, len(s.Nodes), s.ClusterID, len(nodes), list.Header.ClusterId)
		}
		return nil
	})
	return ids
}

// checkAuth checks that authentication is on with exactly the users, roles and
// permissions that belong to these tenants.
func (m *mortal) checkAuth(root *clientv3.Client, tenants ...cluster.User) {
	m.t.Helper()
	want := map[string]string{"root": "[root] [READWRITE [, \x00)]"} // etcd's own words for everything
	for _, u := range append([]cluster.User{{Name: cluster.APIServerUser, Prefix: cluster.APIServerPath}}, tenants...) {
		want[u.Name] = fmt.Sprintf("[%s] [READWRITE [%s, %s)]", u.Name, u.Prefix, cluster.PrefixRangeEnd(u.Prefix))
	}
	var got map[string]string
	var roles []string
	m.ask("read users and roles", func(ctx context.Context) (err error) {
		got, roles, err = readUsers(ctx, root)
		return err
	})
	slices.Sort(roles)
	if !reflect.DeepEqual(got, want) || !slices.Equal(roles, slices.Sorted(maps.Keys(want))) {
		m.t.Errorf("users %v and roles %v, want %v", got, roles, want)
	}
}

// readUsers writes out each user's roles with the permissions of the role of
// its name, and lists the roles.
func readUsers(ctx context.Context, root *clientv3.Client) (users map[string]string, roles []string, err error) {
	if s, err := root.AuthStatus(ctx); err != nil || !s.Enabled {
		return nil, nil, fmt.Errorf("auth status %v, error %w", s, err)
	}
	list, err := root.UserList(ctx)
	if err != nil {
		return nil, nil, err
	}
	users = map[string]string{}
	for _, name := range list.Users {
		u, err := root.UserGet(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		r, err := root.RoleGet(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		perms := []string{}
		for _, p := range r.Perm {
			perms = append(perms, fmt.Sprintf("%s [%s, %s)", p.PermType, p.Key, p.RangeEnd))
		}
		users[name] = fmt.Sprintf("%v %v", u.Roles, perms)
	}
	all, err := root.RoleList(ctx)
	if err != nil {
		return nil, nil, err
	}
	return users, all.Roles, nil
}
