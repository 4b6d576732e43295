package execute

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/plan"
)

// configureAuth makes the changes the step carries, wave by wave, leaving out
// those that are already so. etcd orders each through raft, so a wave costs about
// as much as a single change.
type configureAuth struct{ target }

func (a configureAuth) Done(ctx context.Context) (bool, error) {
	e := a.members(ctx)
	if !e.Auth.Known {
		return false, fmt.Errorf("users and roles cannot be read: %s", e.Err)
	}
	return !slices.ContainsFunc(a.step.Auth, func(c plan.AuthChange) bool { return !applied(c, e.Auth) }), nil
}

func (a configureAuth) Do(ctx context.Context) error {
	e, via, err := a.leader(ctx)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(a.step.Auth), func(c plan.AuthChange) bool { return applied(c, e.Auth) })
	for len(missing) > 0 {
		var wave errgroup.Group
		wave.SetLimit(authParallel)
		n := 0
		for ; n < len(missing) && missing[n].Wave() == missing[0].Wave(); n++ {
			c := missing[n]
			wave.Go(func() error { return a.apply(ctx, via, c) })
		}
		if err := wave.Wait(); err != nil {
			return err
		}
		missing = missing[n:]
	}
	return nil
}

// authParallel bounds the changes under way at once.
const authParallel = 16

// applied says whether a change is already so.
func applied(c plan.AuthChange, a cluster.Auth) bool {
	roles := a.Users[c.User]
	switch c.Op {
	case plan.DeleteUser:
		_, ok := a.Users[c.User]
		return !ok
	case plan.DeleteRole:
		_, ok := a.Roles[c.Role]
		return !ok
	case plan.AddRole:
		_, ok := a.Roles[c.Role]
		return ok
	case plan.GrantPermission:
		return slices.Contains(a.Roles[c.Role], c.Permission)
	case plan.RevokePermission:
		return !slices.Contains(a.Roles[c.Role], c.Permission)
	case plan.AddUser:
		_, ok := a.Users[c.User]
		return ok
	case plan.GrantRole:
		return slices.Contains(roles, c.Role)
	case plan.RevokeRole:
		return !slices.Contains(roles, c.Role)
	default:
		return a.Enabled
	}
}

func (a configureAuth) apply(ctx context.Context, via etcd.Endpoint, c plan.AuthChange) error {
	x := a.x.o.Etcd
	switch c.Op {
	case plan.DeleteUser:
		return a.does(EtcdDeleteUser, func() error { return x.DeleteUser(ctx, via, c.User) })
	case plan.DeleteRole:
		return a.does(EtcdDeleteRole, func() error { return x.DeleteRole(ctx, via, c.Role) })
	case plan.AddRole:
		return a.does(EtcdAddRole, func() error { return x.AddRole(ctx, via, c.Role) })
	case plan.GrantPermission:
		return a.does(EtcdGrant, func() error { return x.Grant(ctx, via, c.Role, c.Permission) })
	case plan.RevokePermission:
		return a.does(EtcdRevoke, func() error { return x.Revoke(ctx, via, c.Role, c.Permission) })
	case plan.AddUser:
		return a.does(EtcdAddUser, func() error { return x.AddUser(ctx, via, c.User) })
	case plan.GrantRole:
		return a.does(EtcdGrantRole, func() error { return x.GrantRole(ctx, via, c.User, c.Role) })
	case plan.RevokeRole:
		return a.does(EtcdRevokeRole, func() error { return x.RevokeRole(ctx, via, c.User, c.Role) })
	case plan.EnableAuth:
		return a.does(EtcdEnableAuth, func() error { return x.EnableAuth(ctx, via) })
	default:
		return fmt.Errorf("auth change %q is unknown", c.Op)
	}
}
