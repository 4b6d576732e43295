package api

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"cke/internal/cluster"
	"cke/internal/units"
)

type issueInput struct {
	ClusterPath
	Body IssueRequest
}

type userInput struct {
	ClusterPath
	Body cluster.User
}

type userPath struct {
	ClusterPath
	User string `path:"user" doc:"the tenant's name"`
}

// secretAnswer carries a private key.
type secretAnswer struct {
	CacheControl string `header:"Cache-Control"`
	Body         Certificate
}

func (s *server) etcdOperations() {
	b := s.backend
	certificate(s, s.operation(http.MethodPost, "/clusters/{cluster}/certificates/root", "issue-root", "A certificate for etcd's root, valid for 2 h"),
		func(ctx context.Context, in *ClusterPath) (Certificate, error) { return b.IssueRoot(ctx, in.Cluster) })
	certificate(s, s.operation(http.MethodPost, "/clusters/{cluster}/certificates", "issue", "A certificate for an etcd user"),
		func(ctx context.Context, in *issueInput) (Certificate, error) {
			ttl := units.Duration(DefaultTTL)
			if in.Body.TTL != nil {
				ttl = *in.Body.TTL
			}
			if ttl <= 0 {
				return Certificate{}, Invalid(fmt.Sprintf("ttl %s is not positive", ttl), "write it like 24h, 30d or 10y")
			}
			return b.Issue(ctx, in.Cluster, in.Body.User, ttl.Std())
		})
	call(s, anywhere(s.operation(http.MethodGet, "/clusters/{cluster}/users", "list-users", "The tenants")),
		func(ctx context.Context, in *ClusterPath) ([]cluster.User, error) {
			list, err := b.Users(ctx, in.Cluster)
			return orEmpty(list), err
		})
	call(s, s.operation(http.MethodPost, "/clusters/{cluster}/users", "add-user", "Add a tenant with a prefix of its own; returns when etcd knows it"),
		func(ctx context.Context, in *userInput) (UserChange, error) {
			created, err := b.AddUser(ctx, in.Cluster, in.Body)
			return UserChange{Created: created}, err
		})
	call(s, s.operation(http.MethodDelete, "/clusters/{cluster}/users/{user}", "remove-user", "Remove a tenant with its bundles; returns when etcd knows it no more"),
		func(ctx context.Context, in *userPath) (UserRemoval, error) {
			return b.RemoveUser(ctx, in.Cluster, in.User)
		})
	call(s, s.operation(http.MethodGet, "/clusters/{cluster}/members", "list-members", "The members as etcd knows them"),
		func(ctx context.Context, in *ClusterPath) ([]cluster.Member, error) {
			list, err := b.Members(ctx, in.Cluster)
			return orEmpty(list), err
		})
	s.defragOperation()
	octets(s, s.operation(http.MethodGet, "/clusters/{cluster}/snapshot", "snapshot", "etcd's own snapshot, with its trailing SHA-256"),
		func(ctx context.Context, in *ClusterPath, w *octetWriter) error {
			r, estimate, err := b.Snapshot(ctx, in.Cluster)
			if err != nil {
				return err
			}
			w.estimate = estimate
			_, err = io.Copy(w, r)
			if cerr := r.Close(); err == nil {
				err = cerr
			}
			return err
		})
}

func certificate[I any](s *server, op huma.Operation, do func(context.Context, *I) (Certificate, error)) {
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*secretAnswer, error) {
		c, err := do(ctx, in)
		if err != nil {
			return nil, problemOf(err)
		}
		return &secretAnswer{CacheControl: "no-store", Body: c}, nil
	})
}
