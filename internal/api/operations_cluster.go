package api

import (
	"bytes"
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"cke/internal/plan"
	"cke/internal/record"
)

type putSpecInput struct {
	File    string `query:"file" doc:"the file's name, for messages" default:"cluster.yml"`
	RawBody []byte `contentType:"application/yaml"`
}

type historyInput struct {
	ClusterPath
	N int `query:"n" doc:"how many of the newest records" default:"20" minimum:"0" maximum:"100000"`
}

type pauseInput struct {
	ClusterPath
	Body PauseRequest
}

func (s *server) clusterOperations() {
	b := s.backend
	call(s, s.operation(http.MethodGet, "/clusters", "list-clusters", "All clusters"),
		func(ctx context.Context, _ *struct{}) ([]ClusterSummary, error) {
			list, err := b.Clusters(ctx)
			return orEmpty(list), err
		})
	call(s, s.operation(http.MethodPut, "/clusters", "put-cluster", "Create or change the cluster a cluster.yml names"),
		func(ctx context.Context, in *putSpecInput) (SpecChange, error) {
			// The buffer goes back to a pool after this call.
			return b.PutSpec(ctx, in.File, bytes.Clone(in.RawBody))
		})
	call(s, anywhere(s.operation(http.MethodGet, "/clusters/{cluster}/spec", "get-spec", "What is wanted, as JSON")),
		func(ctx context.Context, in *ClusterPath) (SpecAnswer, error) {
			spec, revision, err := b.Spec(ctx, in.Cluster)
			return SpecAnswer{Spec: spec, Revision: revision}, err
		})
	s.specYAML()
	call(s, s.operation(http.MethodGet, "/clusters/{cluster}/status", "get-status", "Everything known about a cluster now"),
		func(ctx context.Context, in *ClusterPath) (Status, error) { return b.Status(ctx, in.Cluster) })
	follow(s, s.operation(http.MethodGet, "/clusters/{cluster}/status/watch", "watch-status", "The status now and after every change"),
		func(ctx context.Context, in *ClusterPath, fn func(Status) error) error {
			return b.WatchStatus(ctx, in.Cluster, fn)
		})
	call(s, s.operation(http.MethodGet, "/clusters/{cluster}/plan", "get-plan", "What would be done now, on a fresh observation"),
		func(ctx context.Context, in *ClusterPath) (plan.Plan, error) { return b.Plan(ctx, in.Cluster) })
	call(s, anywhere(s.operation(http.MethodGet, "/clusters/{cluster}/history", "get-history", "What was done, oldest first")),
		func(ctx context.Context, in *historyInput) ([]record.Record, error) {
			list, err := b.History(ctx, in.Cluster, in.N)
			return orEmpty(list), err
		})
	follow(s, anywhere(s.operation(http.MethodGet, "/clusters/{cluster}/history/follow", "follow-history", "The newest records and each new one")),
		func(ctx context.Context, in *historyInput, fn func(record.Record) error) error {
			return b.FollowHistory(ctx, in.Cluster, in.N, fn)
		})
	nothing(s, s.operation(http.MethodPut, "/clusters/{cluster}/pause", "pause", "Hold back all steps of a cluster"),
		func(ctx context.Context, in *pauseInput) error {
			if err := badWhy(in.Body.Why); err != nil {
				return err
			}
			return b.Pause(ctx, in.Cluster, in.Body.Why)
		})
	nothing(s, s.operation(http.MethodDelete, "/clusters/{cluster}/pause", "resume", "Let the steps go on"),
		func(ctx context.Context, in *ClusterPath) error { return b.Resume(ctx, in.Cluster) })
}

type yamlAnswer struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *server) specYAML() {
	yamlText(s, anywhere(s.operation(http.MethodGet, "/clusters/{cluster}/spec.yaml", "get-spec-yaml", "What is wanted, as a cluster.yml")),
		func(ctx context.Context, in *ClusterPath) ([]byte, error) { return s.backend.SpecYAML(ctx, in.Cluster) })
}

// yamlText registers an operation that answers with YAML.
func yamlText[I any](s *server, op huma.Operation, do func(context.Context, *I) ([]byte, error)) {
	op.Responses["200"] = &huma.Response{
		Description: "OK",
		Content:     map[string]*huma.MediaType{yamlType: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*yamlAnswer, error) {
		text, err := do(ctx, in)
		if err != nil {
			return nil, problemOf(err)
		}
		return &yamlAnswer{ContentType: yamlType, Body: text}, nil
	})
}

const yamlType = "application/yaml"

// orEmpty makes "none" an empty list in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
