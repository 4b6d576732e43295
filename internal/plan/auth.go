package plan

import (
	"fmt"

	"cke/internal/cluster"
)

// AuthOp is one mutation of etcd's authentication.
type AuthOp string

// The mutations, in the order they are safe in.
const (
	DeleteUser       AuthOp = "delete-user"
	DeleteRole       AuthOp = "delete-role"
	AddRole          AuthOp = "add-role"
	RevokePermission AuthOp = "revoke-permission"
	GrantPermission  AuthOp = "grant-permission"
	AddUser          AuthOp = "add-user"
	RevokeRole       AuthOp = "revoke-role"
	GrantRole        AuthOp = "grant-role"
	EnableAuth       AuthOp = "enable-auth"
)

// AuthChange is one mutation of etcd's authentication, as data.
type AuthChange struct {
	Op         AuthOp             `json:"op"`
	User       string             `json:"user,omitempty"`
	Role       string             `json:"role,omitempty"`
	Permission cluster.Permission `json:"permission,omitzero"`
}

// Wave is when a change may be made: all of one wave side by side, the waves in
// turn. Access is taken away before any is given, roles and users are there
// before they are granted, and authentication is turned on last.
func (c AuthChange) Wave() int {
	switch c.Op {
	case DeleteUser, DeleteRole, RevokePermission, RevokeRole:
		return 0
	case AddRole, AddUser:
		return 1
	case GrantPermission, GrantRole:
		return 2
	default:
		return 3
	}
}

func (c AuthChange) String() string {
	switch c.Op {
	case AddUser, DeleteUser:
		return fmt.Sprintf("%s %s", c.Op, c.User)
	case GrantRole, RevokeRole:
		return fmt.Sprintf("%s %s %s", c.Op, c.User, c.Role)
	case AddRole, DeleteRole:
		return fmt.Sprintf("%s %s", c.Op, c.Role)
	case GrantPermission, RevokePermission:
		return fmt.Sprintf("%s %s %s [%q, %q)", c.Op, c.Role, c.Permission.Type, c.Permission.Key, c.Permission.RangeEnd)
	default:
		return string(c.Op)
	}
}
