package cluster

// Auth is etcd's own users and roles.
type Auth struct {
	Known   bool                    `json:"known"`
	Enabled bool                    `json:"enabled"`
	Users   map[string][]string     `json:"users,omitempty"` // user → roles
	Roles   map[string][]Permission `json:"roles,omitempty"`
}

// Permission is one grant of a role over [Key, RangeEnd).
type Permission struct {
	Key      string `json:"key"`
	RangeEnd string `json:"range_end"`
	Type     string `json:"type"` // READ, WRITE, READWRITE
}
