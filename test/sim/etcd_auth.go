package sim

import (
	"context"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// AddRole implements execute.Etcd.
func (e client) AddRole(ctx context.Context, via etcd.Endpoint, role string) error {
	return e.auth(ctx, "add role "+role, via, func(a *cluster.Auth) error {
		if _, ok := a.Roles[role]; ok {
			return rpctypes.ErrRoleAlreadyExist
		}
		a.Roles[role] = nil
		return nil
	})
}

func sameRange(p cluster.Permission) func(cluster.Permission) bool {
	return func(q cluster.Permission) bool { return p.Key == q.Key && p.RangeEnd == q.RangeEnd }
}

// Grant implements execute.Etcd.
func (e client) Grant(ctx context.Context, via etcd.Endpoint, role string, p cluster.Permission) error {
	return e.auth(ctx, "grant "+role+" "+p.Key, via, func(a *cluster.Auth) error {
		perms, ok := a.Roles[role]
		if !ok {
			return rpctypes.ErrRoleNotFound
		}
		a.Roles[role] = append(slices.DeleteFunc(slices.Clone(perms), sameRange(p)), p)
		return nil
	})
}

// Revoke implements execute.Etcd.
func (e client) Revoke(ctx context.Context, via etcd.Endpoint, role string, p cluster.Permission) error {
	return e.auth(ctx, "revoke "+role+" "+p.Key, via, func(a *cluster.Auth) error {
		perms := a.Roles[role]
		if !slices.ContainsFunc(perms, sameRange(p)) {
			return rpctypes.ErrPermissionNotGranted
		}
		a.Roles[role] = slices.DeleteFunc(slices.Clone(perms), sameRange(p))
		return nil
	})
}

// AddUser implements execute.Etcd.
func (e client) AddUser(ctx context.Context, via etcd.Endpoint, user string) error {
	return e.auth(ctx, "add user "+user, via, func(a *cluster.Auth) error {
		if _, ok := a.Users[user]; ok {
			return rpctypes.ErrUserAlreadyExist
		}
		a.Users[user] = nil
		return nil
	})
}

// GrantRole implements execute.Etcd.
func (e client) GrantRole(ctx context.Context, via etcd.Endpoint, user, role string) error {
	return e.auth(ctx, "grant role "+role+" to "+user, via, func(a *cluster.Auth) error {
		roles, ok := a.Users[user]
		if !ok {
			return rpctypes.ErrUserNotFound
		}
		if _, ok := a.Roles[role]; !ok && role != cluster.RootUser {
			return rpctypes.ErrRoleNotFound
		}
		if !slices.Contains(roles, role) {
			a.Users[user] = append(slices.Clone(roles), role)
		}
		return nil
	})
}

// RevokeRole implements execute.Etcd.
func (e client) RevokeRole(ctx context.Context, via etcd.Endpoint, user, role string) error {
	return e.auth(ctx, "revoke role "+role+" from "+user, via, func(a *cluster.Auth) error {
		roles := a.Users[user]
		if !slices.Contains(roles, role) || a.Enabled && user == cluster.RootUser && role == cluster.RootUser {
			return rpctypes.ErrRoleNotGranted
		}
		a.Users[user] = slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == role })
		return nil
	})
}

// EnableAuth implements execute.Etcd.
func (e client) EnableAuth(ctx context.Context, via etcd.Endpoint) error {
	return e.auth(ctx, "enable auth", via, func(a *cluster.Auth) error {
		if !slices.Contains(a.Users[cluster.RootUser], cluster.RootUser) {
			return rpctypes.ErrRootRoleNotExist
		}
		a.Enabled = true
		return nil
	})
}

// rightAuth is what a cluster with these tenants should have.
func rightAuth(tenants []cluster.User) cluster.Auth {
	a := cluster.Auth{
		Enabled: true,
		Users:   map[string][]string{cluster.RootUser: {cluster.RootUser}},
		Roles:   map[string][]cluster.Permission{cluster.RootUser: nil},
	}
	for _, u := range append([]cluster.User{{Name: cluster.APIServerUser, Prefix: cluster.APIServerPath}}, tenants...) {
		a.Users[u.Name], a.Roles[u.Name] = []string{u.Name}, []cluster.Permission{permission(u)}
	}
	return a
}

func permission(u cluster.User) cluster.Permission {
	return cluster.Permission{Key: u.Prefix, RangeEnd: cluster.PrefixRangeEnd(u.Prefix), Type: "READWRITE"}
}
