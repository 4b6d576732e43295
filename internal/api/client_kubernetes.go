package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"cke/internal/cluster"
)

// EtcdConfig is how a kube-apiserver reaches etcd: one on this node, or on any
// without one.
func (c *Client) EtcdConfig(ctx context.Context, name, node string, gateway bool) (EtcdConfig, error) {
	query := url.Values{"gateway": {strconv.FormatBool(gateway)}}
	if node != "" {
		query.Set("node", node)
	}
	return fetch[EtcdConfig](ctx, c, on(name, "kubernetes", "etcd-config"), query)
}

// Manifests are what has to be in Kubernetes before CKE may act there, YAML.
func (c *Client) Manifests(ctx context.Context, name string, to Subject) ([]byte, error) {
	query := url.Values{}
	for key, v := range map[string]string{"service_account": to.ServiceAccount, "user": to.User, "group": to.Group} {
		if v != "" {
			query.Set(key, v)
		}
	}
	return c.text(ctx, request{method: http.MethodGet, path: on(name, "kubernetes", "manifests"), query: query})
}

// Bundles lists the Secrets of users.
func (c *Client) Bundles(ctx context.Context, name string) ([]cluster.Bundle, error) {
	return fetch[[]cluster.Bundle](ctx, c, on(name, "kubernetes", "bundles"), nil)
}

// AddBundle keeps a Secret with all that a user's pods need.
func (c *Client) AddBundle(ctx context.Context, name string, b cluster.Bundle) (BundleChange, error) {
	var out BundleChange
	err := c.callJSON(ctx, request{method: http.MethodPost, path: on(name, "kubernetes", "bundles")},
		BundleRequest{User: b.User, Namespace: b.Namespace, Name: b.Name, TTL: &b.TTL}, &out)
	return out, err
}

// RemoveBundle removes a user's Secret.
func (c *Client) RemoveBundle(ctx context.Context, name, namespace, secret string) (BundleChange, error) {
	var out BundleChange
	err := c.callJSON(ctx, request{method: http.MethodDelete, path: on(name, "kubernetes", "bundles", namespace, secret)}, nil, &out)
	return out, err
}
