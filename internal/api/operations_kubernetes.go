package api

import (
	"context"
	"net/http"

	"cke/internal/cluster"
)

type etcdConfigInput struct {
	ClusterPath
	Node    string `query:"node" doc:"the hostname or address of the node the API server runs on"`
	Gateway bool   `query:"gateway" doc:"through the gateway of its own machine"`
}

type manifestsInput struct {
	ClusterPath
	ServiceAccount string `query:"service_account" doc:"namespace/name of the service account CKE acts as"`
	User           string `query:"user" doc:"the user CKE acts as"`
	Group          string `query:"group" doc:"a group CKE belongs to"`
}

type bundleInput struct {
	ClusterPath
	Body BundleRequest
}

type bundlePath struct {
	ClusterPath
	Namespace string `path:"namespace" doc:"the Secret's namespace"`
	Name      string `path:"name" doc:"the Secret's name"`
}

func (s *server) kubernetesOperations() {
	b := s.backend
	call(s, s.operation(http.MethodGet, "/clusters/{cluster}/kubernetes/etcd-config", "get-etcd-config", "How a kube-apiserver reaches etcd"),
		func(ctx context.Context, in *etcdConfigInput) (EtcdConfig, error) {
			return b.EtcdConfig(ctx, in.Cluster, in.Node, in.Gateway)
		})
	yamlText(s, s.operation(http.MethodGet, "/clusters/{cluster}/kubernetes/manifests", "get-manifests", "What Kubernetes must hold before CKE may act there"),
		func(ctx context.Context, in *manifestsInput) ([]byte, error) {
			return b.Manifests(ctx, in.Cluster, Subject{ServiceAccount: in.ServiceAccount, User: in.User, Group: in.Group})
		})
	call(s, anywhere(s.operation(http.MethodGet, "/clusters/{cluster}/kubernetes/bundles", "list-bundles", "The Secrets of users")),
		func(ctx context.Context, in *ClusterPath) ([]cluster.Bundle, error) {
			list, err := b.Bundles(ctx, in.Cluster)
			return orEmpty(list), err
		})
	call(s, s.operation(http.MethodPost, "/clusters/{cluster}/kubernetes/bundles", "add-bundle", "Keep a Secret with all that a user's pods need"),
		func(ctx context.Context, in *bundleInput) (BundleChange, error) {
			want := cluster.Bundle{User: in.Body.User, Namespace: in.Body.Namespace, Name: in.Body.Name, TTL: cluster.DefaultBundleTTL}
			if want.Name == "" {
				want.Name = cluster.BundleName(want.User)
			}
			if in.Body.TTL != nil {
				want.TTL = *in.Body.TTL
			}
			return b.AddBundle(ctx, in.Cluster, want)
		})
	call(s, s.operation(http.MethodDelete, "/clusters/{cluster}/kubernetes/bundles/{namespace}/{name}", "remove-bundle", "Remove a user's Secret"),
		func(ctx context.Context, in *bundlePath) (BundleChange, error) {
			return b.RemoveBundle(ctx, in.Cluster, in.Namespace, in.Name)
		})
}
