package plan

import (
	"fmt"
	"slices"
	"sort"

	"cke/internal/cluster"
)

// ruleAuth keeps authentication, users and roles right for ever.
func ruleAuth(in input) verdict {
	a := in.st.Etcd.Auth
	if !a.Known {
		return verdict{reasons: []Reason{{Level: Waiting, Rule: "authIsUnknown", Text: "users and roles could not be read: " + orElse(in.st.Etcd.Err, "no member answered")}}}
	}
	var v verdict
	if changes := authChanges(in); len(changes) > 0 {
		v.steps = []Step{{Kind: ConfigureAuth, Auth: changes, Reason: "users, roles or permissions differ from the wanted ones"}}
	}
	known := map[string]bool{}
	for _, u := range wantedUsers(in.st.Users) {
		known[u.Name] = true
	}
	for _, u := range removedUsers(in.st) {
		known[u.Name] = true
		if len(removalChanges(u, a)) == 0 {
			v.steps = append(v.steps, Step{Kind: ForgetUser, User: &u, Reason: "etcd knows neither this user nor its role any more"})
		}
	}
	for _, name := range sortedKeys(a.Users) {
		if !known[name] {
			v.reasons = append(v.reasons, Reason{
				Level: Note, Rule: "userIsForeign",
				Text: fmt.Sprintf("etcd user %q with roles %v was not made by CKE and is left alone", name, a.Users[name]),
			})
		}
	}
	return v
}

// wantedUsers are the tenants, the API server and root. A tenant's role has the
// user's name; root's is etcd's own.
func wantedUsers(tenants []cluster.User) []cluster.User {
	users := []cluster.User{{Name: cluster.RootUser}, {Name: cluster.APIServerUser, Prefix: cluster.APIServerPath}}
	return append(users, tenants...)
}

// removedUsers are those that nobody has added again.
func removedUsers(st cluster.State) []cluster.RemovedUser {
	wanted := wantedUsers(st.Users)
	return slices.DeleteFunc(slices.Clone(st.RemovedUsers), func(r cluster.RemovedUser) bool {
		return slices.ContainsFunc(wanted, func(u cluster.User) bool { return u.Name == r.Name })
	})
}

// removalChanges take away what etcd still knows of a removed user.
func removalChanges(u cluster.RemovedUser, a cluster.Auth) []AuthChange {
	var changes []AuthChange
	if _, exists := a.Users[u.Name]; exists {
		changes = append(changes, AuthChange{Op: DeleteUser, User: u.Name})
	}
	if _, exists := a.Roles[u.Name]; exists {
		changes = append(changes, AuthChange{Op: DeleteRole, Role: u.Name})
	}
	return changes
}

// authChanges is the difference between wanted and present, ordered by wave so
// that it is safe to be interrupted anywhere.
func authChanges(in input) []AuthChange {
	a := in.st.Etcd.Auth
	var changes []AuthChange
	for _, u := range removedUsers(in.st) {
		changes = append(changes, removalChanges(u, a)...)
	}
	for _, u := range wantedUsers(in.st.Users) {
		changes = append(changes, userChanges(u, a)...)
	}
	if !a.Enabled {
		changes = append(changes, AuthChange{Op: EnableAuth})
	}
	slices.SortStableFunc(changes, func(x, y AuthChange) int { return x.Wave() - y.Wave() })
	return changes
}

func userChanges(u cluster.User, a cluster.Auth) []AuthChange {
	var changes []AuthChange
	roles, exists := a.Users[u.Name]
	perms, roleExists := a.Roles[u.Name]
	if !roleExists {
		changes = append(changes, AuthChange{Op: AddRole, Role: u.Name})
	}
	if !exists {
		changes = append(changes, AuthChange{Op: AddUser, User: u.Name})
	}
	want := rolePermissions(u)
	for _, p := range perms {
		if !slices.Contains(want, p) && u.Name != cluster.RootUser {
			changes = append(changes, AuthChange{Op: RevokePermission, Role: u.Name, Permission: p})
		}
	}
	for _, p := range want {
		if !slices.Contains(perms, p) {
			changes = append(changes, AuthChange{Op: GrantPermission, Role: u.Name, Permission: p})
		}
	}
	for _, r := range roles {
		if r != u.Name {
			changes = append(changes, AuthChange{Op: RevokeRole, User: u.Name, Role: r})
		}
	}
	if !slices.Contains(roles, u.Name) {
		changes = append(changes, AuthChange{Op: GrantRole, User: u.Name, Role: u.Name})
	}
	return changes
}

func rolePermissions(u cluster.User) []cluster.Permission {
	if u.Prefix == "" {
		return nil
	}
	return []cluster.Permission{{Key: u.Prefix, RangeEnd: cluster.PrefixRangeEnd(u.Prefix), Type: "READWRITE"}}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
