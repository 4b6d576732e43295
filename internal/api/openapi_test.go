package api

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

func TestOpenAPIIsCheckedIn(t *testing.T) {
	const path = "../../docs/openapi.yaml"
	fresh, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if update() {
		if err := os.WriteFile(path, fresh, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh, kept) {
		t.Errorf("%s is not what the types say; run go test ./internal/api -update", path)
	}
	if bytes.Contains(fresh, []byte("ErrorModel")) {
		t.Error("the description mentions huma's error model, which is never sent")
	}
}

func update() bool { return flag.Lookup("update").Value.String() == "true" }

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite golden files")
	flag.Parse()
	os.Exit(m.Run())
}

// huma leaves a path's parameter empty, without a word, if it cannot set it.
func TestEveryPathParameterIsAnInput(t *testing.T) {
	paths := newAPI(http.NewServeMux(), nil, Options{}).OpenAPI().Paths
	if len(paths) < 15 {
		t.Fatalf("only %d paths", len(paths))
	}
	for path, item := range paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
			if op == nil {
				continue
			}
			have := 0
			for _, p := range op.Parameters {
				if p.In == "path" && strings.Contains(path, "{"+p.Name+"}") {
					have++
				}
			}
			if want := strings.Count(path, "{"); have != want {
				t.Errorf("%s %s: %d of %d path parameters are inputs", op.Method, path, have, want)
			}
		}
	}
}
