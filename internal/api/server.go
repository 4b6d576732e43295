package api

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Options say what the server tells about itself.
type Options struct {
	// Version is the daemon's, as in "1.2.3".
	Version string
	Log     *slog.Logger
	// Lead lets in what only a leader answers. Nil: this daemon always leads.
	Lead Lead
	// Machine is named beside the users of the socket; empty: this is the only one.
	Machine string
}

// NewServer serves a Backend under /v1 and its own description at
// /openapi.json and /openapi.yaml. Run it in an HTTPServer, which gives it the
// caller's identity and its time limits.
func NewServer(b Backend, o Options) http.Handler {
	mux := http.NewServeMux()
	api := newAPI(mux, b, o)
	serveOpenAPI(mux, api.OpenAPI())
	return logged(o.Log, identified(o.Machine, readBody(problems(mux))))
}

func newAPI(mux *http.ServeMux, b Backend, o Options) huma.API {
	config := huma.DefaultConfig("CKE", "v1")
	config.Info.Description = "Bootstraps and maintains etcd clusters. " +
		"Streams end with an error unless they are complete; an answer with a private key is never cached."
	// Served by serveOpenAPI instead: huma's own handlers race on their first request.
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{humaErrors}
	api := humago.New(mux, config)
	s := &server{backend: b, options: o, api: api}
	api.UseMiddleware(s.gate)
	s.clusterOperations()
	s.etcdOperations()
	s.kubernetesOperations()
	s.nodeOperations()
	s.maintenanceOperations()
	s.daemonOperations()
	// huma notes its own error model with every operation; nothing refers to it.
	schemas := api.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	return api
}

type server struct {
	backend Backend
	options Options
	api     huma.API
}

// ClusterPath is the input of every operation on one cluster. It is exported
// because huma fills in exported embedded structs only, and silently.
type ClusterPath struct {
	Cluster string `path:"cluster" doc:"the cluster's name"`
}

// answer is a JSON answer.
type answer[T any] struct {
	Body T
}

// operation describes one call; every failure is a Problem.
func (s *server) operation(method, path, id, summary string) huma.Operation {
	schema := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	return huma.Operation{
		Method: method, Path: "/v1" + path, OperationID: id, Summary: summary,
		// readBody has read it already, within its own limits.
		MaxBodyBytes: -1, BodyReadTimeout: -1,
		Responses: map[string]*huma.Response{"default": {
			Description: "Refused, invalid, not found, another daemon's to answer, or failed; `code` says which.",
			Content:     map[string]*huma.MediaType{problemType: {Schema: schema}},
		}},
	}
}

// call registers an operation that answers with JSON.
func call[I, T any](s *server, op huma.Operation, do func(context.Context, *I) (T, error)) {
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*answer[T], error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, problemOf(unled(ctx, err))
		}
		return &answer[T]{Body: out}, nil
	})
}

// nothing registers an operation whose success has no body.
func nothing[I any](s *server, op huma.Operation, do func(context.Context, *I) error) {
	op.DefaultStatus = http.StatusNoContent
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*struct{}, error) {
		if err := do(ctx, in); err != nil {
			return nil, problemOf(unled(ctx, err))
		}
		return nil, nil
	})
}
