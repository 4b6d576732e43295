package api

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

// OpenAPI is the API's description in YAML (OpenAPI 3.1), generated from the
// Go types.
func OpenAPI() ([]byte, error) {
	return newAPI(http.NewServeMux(), nil, Options{}).OpenAPI().YAML()
}

func serveOpenAPI(mux *http.ServeMux, doc *huma.OpenAPI) {
	serve := func(path, contentType string, write func() ([]byte, error)) {
		once := sync.OnceValues(write)
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			text, err := once()
			if err != nil {
				writeProblem(w, problemOf(err))
				return
			}
			w.Header().Set("Content-Type", contentType)
			// A client that left cannot be told anything.
			_, _ = w.Write(text)
		})
	}
	serve("/openapi.json", "application/openapi+json", func() ([]byte, error) { return json.Marshal(doc) })
	serve("/openapi.yaml", "application/openapi+yaml", doc.YAML)
}
