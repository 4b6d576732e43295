package execute

import (
	"context"
	"fmt"
	"slices"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/plan"
)

// configureAuth makes the changes the step carries, in their order, leaving out
// those that are already so.
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
	for _, c := range a.step.Auth {
		if applied(c, e.Auth) {
			continue
		}
		if err := a.apply(ctx, via, c); err != nil {
			return err
		}
	}
	return nil
}

// applied says whether a change is already so.
func applied(c plan.AuthChange, a cluster.Auth) bool {
	roles := a.Users[c.User]
	switch c.Op {
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
	case plan.AddRole:
		return a.did(EtcdAddRole, x.AddRole(ctx, via, c.Role))
	case plan.GrantPermission:
		return a.did(EtcdGrant, x.Grant(ctx, via, c.Role, c.Permission))
	case plan.RevokePermission:
		return a.did(EtcdRevoke, x.Revoke(ctx, via, c.Role, c.Permission))
	case plan.AddUser:
		return a.did(EtcdAddUser, x.AddUser(ctx, via, c.User))
	case plan.GrantRole:
		return a.did(EtcdGrantRole, x.GrantRole(ctx, via, c.User, c.Role))
	case plan.RevokeRole:
		return a.did(EtcdRevokeRole, x.RevokeRole(ctx, via, c.User, c.Role))
	case plan.EnableAuth:
		return a.did(EtcdEnableAuth, x.EnableAuth(ctx, via))
	default:
		return fmt.Errorf("auth change %q is unknown", c.Op)
	}
}
