package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
	"cke/internal/units"
)

func on(name string, rest ...string) string {
	path := "/clusters/" + url.PathEscape(name)
	for _, r := range rest {
		path += "/" + url.PathEscape(r)
	}
	return path
}

func fetch[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	err := c.callJSON(ctx, request{method: http.MethodGet, path: path, query: query}, nil, &out)
	return out, err
}

// Clusters lists all clusters.
func (c *Client) Clusters(ctx context.Context) ([]ClusterSummary, error) {
	return fetch[[]ClusterSummary](ctx, c, "/clusters", nil)
}

// Spec returns what is wanted, and its revision.
func (c *Client) Spec(ctx context.Context, name string) (cluster.Spec, int64, error) {
	a, err := fetch[SpecAnswer](ctx, c, on(name, "spec"), nil)
	return a.Spec, a.Revision, err
}

// SpecYAML returns the same as a cluster.yml.
func (c *Client) SpecYAML(ctx context.Context, name string) ([]byte, error) {
	return c.text(ctx, request{method: http.MethodGet, path: on(name, "spec.yaml")})
}

// text sends a request and returns its answer as it is.
func (c *Client) text(ctx context.Context, r request) ([]byte, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	return text, nil
}

// PutSpec sends a cluster.yml; file is its name, for messages.
func (c *Client) PutSpec(ctx context.Context, file string, yaml []byte) (SpecChange, error) {
	var out SpecChange
	r := request{
		method: http.MethodPut, path: "/clusters", contentType: yamlType, body: yaml,
		query: url.Values{"file": {file}},
	}
	err := c.callJSON(ctx, r, nil, &out)
	return out, err
}

// Status returns everything known now.
func (c *Client) Status(ctx context.Context, name string) (Status, error) {
	return fetch[Status](ctx, c, on(name, "status"), nil)
}

// Plan asks what would be done now.
func (c *Client) Plan(ctx context.Context, name string) (plan.Plan, error) {
	return fetch[plan.Plan](ctx, c, on(name, "plan"), nil)
}

// History returns the newest n records, oldest first.
func (c *Client) History(ctx context.Context, name string, n int) ([]record.Record, error) {
	return fetch[[]record.Record](ctx, c, on(name, "history"), url.Values{"n": {strconv.Itoa(n)}})
}

// IssueRoot asks for a certificate of etcd's root, valid for 2 h.
func (c *Client) IssueRoot(ctx context.Context, name string) (Certificate, error) {
	var out Certificate
	err := c.callJSON(ctx, request{method: http.MethodPost, path: on(name, "certificates", "root")}, nil, &out)
	return out, err
}

// Issue asks for a certificate of an etcd user.
func (c *Client) Issue(ctx context.Context, name, user string, ttl time.Duration) (Certificate, error) {
	var out Certificate
	span := units.Duration(ttl)
	err := c.callJSON(ctx, request{method: http.MethodPost, path: on(name, "certificates")},
		IssueRequest{User: user, TTL: &span}, &out)
	return out, err
}

// AddUser adds a tenant; false: it was there already.
func (c *Client) AddUser(ctx context.Context, name string, u cluster.User) (bool, error) {
	var out UserChange
	err := c.callJSON(ctx, request{method: http.MethodPost, path: on(name, "users")}, u, &out)
	return out.Created, err
}

// Users lists the tenants.
func (c *Client) Users(ctx context.Context, name string) ([]cluster.User, error) {
	return fetch[[]cluster.User](ctx, c, on(name, "users"), nil)
}

// RemoveUser takes a tenant and its bundles out.
func (c *Client) RemoveUser(ctx context.Context, name, user string) (UserRemoval, error) {
	var out UserRemoval
	err := c.callJSON(ctx, request{method: http.MethodDelete, path: on(name, "users", user)}, nil, &out)
	return out, err
}

// Members lists the members as etcd knows them.
func (c *Client) Members(ctx context.Context, name string) ([]cluster.Member, error) {
	return fetch[[]cluster.Member](ctx, c, on(name, "members"), nil)
}

// Pause holds all steps back.
func (c *Client) Pause(ctx context.Context, name, why string) error {
	return c.callJSON(ctx, request{method: http.MethodPut, path: on(name, "pause")}, PauseRequest{Why: why}, nil)
}

// Resume lets them go on.
func (c *Client) Resume(ctx context.Context, name string) error {
	return c.callJSON(ctx, request{method: http.MethodDelete, path: on(name, "pause")}, nil, nil)
}

// Trust accepts a host's SSH key.
func (c *Client) Trust(ctx context.Context, name, address, fingerprint string) (TrustedKey, error) {
	var out TrustedKey
	err := c.callJSON(ctx, request{method: http.MethodPost, path: on(name, "trust")},
		TrustRequest{Address: address, Fingerprint: fingerprint}, &out)
	return out, err
}

// Claim takes a host over from another CKE store.
func (c *Client) Claim(ctx context.Context, name, node string) error {
	return c.callJSON(ctx, request{method: http.MethodPost, path: on(name, "nodes", node, "claim")}, nil, nil)
}

// CheckNodes measures whether a node could carry a member; an empty node means
// every one that may.
func (c *Client) CheckNodes(ctx context.Context, name, node string) ([]cluster.NodeCheck, error) {
	var out []cluster.NodeCheck
	r := request{method: http.MethodPost, path: on(name, "nodes", "check")}
	if node != "" {
		r.query = url.Values{"node": {node}}
	}
	err := c.callJSON(ctx, r, nil, &out)
	return out, err
}

// CleanNode removes everything of CKE's from a machine without a member, or only
// forgets one that is gone.
func (c *Client) CleanNode(ctx context.Context, name, node string, forget bool) error {
	return c.callJSON(ctx, request{method: http.MethodPost, path: on(name, "nodes", node, "clean")}, CleanRequest{Forget: forget}, nil)
}

// Leader says which daemon acts.
func (c *Client) Leader(ctx context.Context) (Leader, error) {
	return fetch[Leader](ctx, c, "/leader", nil)
}

// Version is the daemon's.
func (c *Client) Version(ctx context.Context) (string, error) {
	v, err := fetch[Version](ctx, c, "/version", nil)
	return v.Version, err
}
