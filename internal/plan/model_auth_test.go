package plan

import (
	"slices"

	"cke/internal/cluster"
)

// changeAuth is one call to etcd's auth store, refused where that refuses.
func (s *sim) changeAuth(c AuthChange) error {
	a := &s.raft.auth
	roles, user := a.Users[c.User]
	perms, role := a.Roles[c.Role]
	sameRange := func(p cluster.Permission) bool {
		return p.Key == c.Permission.Key && p.RangeEnd == c.Permission.RangeEnd
	}
	switch c.Op {
	case DeleteUser:
		if !user || a.Enabled && c.User == cluster.RootUser {
			return errRefused
		}
		delete(a.Users, c.User)
	case DeleteRole:
		if !role || a.Enabled && c.Role == cluster.RootUser {
			return errRefused
		}
		delete(a.Roles, c.Role)
		for u, roles := range a.Users {
			a.Users[u] = slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == c.Role })
		}
	case AddRole:
		if role {
			return errRefused
		}
		a.Roles[c.Role] = nil
	case GrantPermission:
		if !role {
			return errRefused
		}
		a.Roles[c.Role] = append(slices.DeleteFunc(slices.Clone(perms), sameRange), c.Permission)
	case RevokePermission:
		if !slices.ContainsFunc(perms, sameRange) {
			return errRefused
		}
		a.Roles[c.Role] = slices.DeleteFunc(slices.Clone(perms), sameRange)
	case AddUser:
		if user {
			return errRefused
		}
		a.Users[c.User] = nil
	case GrantRole:
		if !user || !role && c.Role != cluster.RootUser {
			return errRefused
		}
		if !slices.Contains(roles, c.Role) {
			a.Users[c.User] = append(slices.Clone(roles), c.Role)
		}
	case RevokeRole:
		if !slices.Contains(roles, c.Role) || a.Enabled && c.User == cluster.RootUser && c.Role == cluster.RootUser {
			return errRefused
		}
		a.Users[c.User] = slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == c.Role })
	case EnableAuth:
		if !slices.Contains(a.Users[cluster.RootUser], cluster.RootUser) {
			return errRefused
		}
		a.Enabled = true
	}
	return nil
}

// authApplied says whether a change is already so.
func authApplied(c AuthChange, a cluster.Auth) bool {
	_, role := a.Roles[c.Role]
	_, user := a.Users[c.User]
	switch c.Op {
	case DeleteUser:
		return !user
	case DeleteRole:
		return !role
	case AddRole:
		return role
	case GrantPermission:
		return slices.Contains(a.Roles[c.Role], c.Permission)
	case RevokePermission:
		return !slices.Contains(a.Roles[c.Role], c.Permission)
	case AddUser:
		return user
	case GrantRole:
		return slices.Contains(a.Users[c.User], c.Role)
	case RevokeRole:
		return !slices.Contains(a.Users[c.User], c.Role)
	default:
		return a.Enabled
	}
}

// authIsRight compares with what the tenants are due, said anew and not by the
// rule: access to exactly the own prefix, and none for those who were tenants once. What
// others made in etcd may stay.
func (s *sim) authIsRight() bool {
	a := s.raft.auth
	due := map[string]string{cluster.APIServerUser: cluster.APIServerPath}
	for _, u := range s.store.users {
		due[u.Name] = u.Prefix
	}
	for name, prefix := range due {
		want := cluster.Permission{Key: prefix, RangeEnd: cluster.PrefixRangeEnd(prefix), Type: "READWRITE"}
		if !slices.Equal(a.Users[name], []string{name}) || !slices.Equal(a.Roles[name], []cluster.Permission{want}) {
			return false
		}
	}
	for _, once := range tenants() {
		_, user := a.Users[once]
		_, role := a.Roles[once]
		if due[once] == "" && (user || role) {
			return false
		}
	}
	return len(s.store.removed) == 0 && a.Enabled && slices.Equal(a.Users[cluster.RootUser], []string{cluster.RootUser})
}
