package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/etcd/api/v3/authpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"cke/internal/cluster"
)

// authCache keeps users and roles until etcd's auth revision moves, so that an
// idle loop asks one question however many tenants there are.
type authCache struct {
	valid    bool
	revision uint64
	auth     cluster.Auth
}

// Auth reads whether authentication is on, the users and the roles.
func (c *Client) Auth(ctx context.Context, ep Endpoint) (cluster.Auth, error) {
	conn, err := c.conn(string(ep))
	if err != nil {
		return cluster.Auth{}, err
	}
	st, err := conn.AuthStatus(ctx)
	if err != nil {
		return cluster.Auth{}, fmt.Errorf("ask %s for its auth status: %w", ep, err)
	}
	c.mu.Lock()
	cached := c.auth
	c.mu.Unlock()
	if cached.valid && cached.revision == st.AuthRevision && cached.auth.Enabled == st.Enabled {
		return cached.auth, nil
	}
	a, err := readAuth(ctx, conn)
	if err != nil {
		return cluster.Auth{}, fmt.Errorf("read users and roles from %s: %w", ep, err)
	}
	a.Known, a.Enabled = true, st.Enabled
	c.mu.Lock()
	// The lists are at least as new as the revision read before them; if they
	// are newer, the next status differs and reads again.
	c.auth = authCache{valid: true, revision: st.AuthRevision, auth: a}
	c.mu.Unlock()
	return a, nil
}

// readAuth asks in parallel: etcd orders each of these questions through raft, so
// that many in turn cost as many disk syncs.
func readAuth(ctx context.Context, conn *clientv3.Client) (cluster.Auth, error) {
	a := cluster.Auth{Users: map[string][]string{}, Roles: map[string][]cluster.Permission{}}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(authParallel)
	var both errgroup.Group
	both.Go(func() error {
		users, err := conn.UserList(ctx)
		if err != nil {
			return err
		}
		for _, u := range users.Users {
			g.Go(func() error {
				r, err := conn.UserGet(ctx, u)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				a.Users[u] = r.Roles
				return nil
			})
		}
		return nil
	})
	both.Go(func() error {
		roles, err := conn.RoleList(ctx)
		if err != nil {
			return err
		}
		for _, name := range roles.Roles {
			g.Go(func() error {
				r, err := conn.RoleGet(ctx, name)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				a.Roles[name] = permissions(r)
				return nil
			})
		}
		return nil
	})
	// The lists are through when both have ended, and only then may g be waited for.
	err := both.Wait()
	return a, errors.Join(err, g.Wait())
}

// authParallel bounds the questions under way at once.
const authParallel = 32

func permissions(r *clientv3.AuthRoleGetResponse) []cluster.Permission {
	perms := []cluster.Permission{}
	for _, p := range r.Perm {
		perms = append(perms, cluster.Permission{Key: string(p.Key), RangeEnd: string(p.RangeEnd), Type: p.PermType.String()})
	}
	return perms
}

// DeleteUser removes a user; its certificates open nothing any more.
func (c *Client) DeleteUser(ctx context.Context, ep Endpoint, user string) error {
	return c.authOp(ep, "delete user "+user, func(conn *clientv3.Client) error {
		_, err := conn.UserDelete(ctx, user)
		return err
	})
}

// DeleteRole removes a role, from all who have it.
func (c *Client) DeleteRole(ctx context.Context, ep Endpoint, role string) error {
	return c.authOp(ep, "delete role "+role, func(conn *clientv3.Client) error {
		_, err := conn.RoleDelete(ctx, role)
		return err
	})
}

// AddRole makes an empty role.
func (c *Client) AddRole(ctx context.Context, ep Endpoint, role string) error {
	return c.authOp(ep, "add role "+role, func(conn *clientv3.Client) error {
		_, err := conn.RoleAdd(ctx, role)
		return err
	})
}

// Grant gives a role a permission.
func (c *Client) Grant(ctx context.Context, ep Endpoint, role string, p cluster.Permission) error {
	return c.authOp(ep, "grant to role "+role, func(conn *clientv3.Client) error {
		t, ok := authpb.Permission_Type_value[p.Type]
		if !ok {
			return fmt.Errorf("permission type %q is unknown", p.Type)
		}
		_, err := conn.RoleGrantPermission(ctx, role, p.Key, p.RangeEnd, clientv3.PermissionType(t))
		return err
	})
}

// Revoke takes a permission from a role.
func (c *Client) Revoke(ctx context.Context, ep Endpoint, role string, p cluster.Permission) error {
	return c.authOp(ep, "revoke from role "+role, func(conn *clientv3.Client) error {
		_, err := conn.RoleRevokePermission(ctx, role, p.Key, p.RangeEnd)
		return err
	})
}

// AddUser makes a user that can only come with a certificate.
func (c *Client) AddUser(ctx context.Context, ep Endpoint, user string) error {
	return c.authOp(ep, "add user "+user, func(conn *clientv3.Client) error {
		_, err := conn.UserAddWithOptions(ctx, user, "", &clientv3.UserAddOptions{NoPassword: true})
		return err
	})
}

// GrantRole gives a user a role.
func (c *Client) GrantRole(ctx context.Context, ep Endpoint, user, role string) error {
	return c.authOp(ep, "grant role "+role+" to user "+user, func(conn *clientv3.Client) error {
		_, err := conn.UserGrantRole(ctx, user, role)
		return err
	})
}

// RevokeRole takes a role from a user.
func (c *Client) RevokeRole(ctx context.Context, ep Endpoint, user, role string) error {
	return c.authOp(ep, "revoke role "+role+" from user "+user, func(conn *clientv3.Client) error {
		_, err := conn.UserRevokeRole(ctx, user, role)
		return err
	})
}

// EnableAuth turns authentication on.
func (c *Client) EnableAuth(ctx context.Context, ep Endpoint) error {
	return c.authOp(ep, "enable authentication", func(conn *clientv3.Client) error {
		_, err := conn.AuthEnable(ctx)
		return err
	})
}

func (c *Client) authOp(ep Endpoint, what string, op func(*clientv3.Client) error) error {
	conn, err := c.conn(string(ep))
	if err != nil {
		return err
	}
	if err := op(conn); err != nil {
		return fmt.Errorf("%s through %s: %w", what, ep, err)
	}
	return nil
}
