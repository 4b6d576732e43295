package layout_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// The rules themselves, tried on imports and variables that must not pass.

func TestRefuse(t *testing.T) {
	for _, c := range []struct {
		from, imported string
		ok             bool
	}{
		{"internal/plan", "cluster", true},
		{"internal/cluster", "plan", false},
		{"internal/host", "host/agent", false},
		{"internal/host/agent", "host", true},
		{"internal/host/agent", "pack", true},
		{"internal/host", "pack", false},
		{"internal/release", "host", true},
		{"internal/cli", "release", false},
		{"internal/seal", "store", false},
		{"internal/store", "seal", true},
		{"internal/cli", "store", false},
		{"internal/cli", "backup", true},
		{"internal/reconcile", "api", false},
		{"internal/app", "reconcile", true},
		{"cmd/ckecli", "app", false},
		{"cmd/ckecli", "config", true},
		{"cmd/another", "app", false},
		{"bench", "api", true},
	} {
		path, self := name("cke/" + c.from)
		if why := refuse(path, self, "cke/internal/"+c.imported); (why == "") != c.ok {
			t.Errorf("%s imports %s: %q", c.from, c.imported, why)
		}
	}
	for _, c := range []struct {
		from, imported string
		ok             bool
	}{
		{"internal/app", "cmd/cke", false},
		{"test/e2e", "cmd/cke", false},
		{"test/lab/hosts", "test/lab", true},
		{"test/lab/cmd/lab", "test/lab/nfqueue", true},
		{"bench", "test/lab", true},
		{"internal/host", "test/lab", false},
		{"cmd/cke", "test/lab", false},
		{"test/lab", "test/e2e", false},
	} {
		path, self := name("cke/" + c.from)
		if why := refuse(path, self, "cke/"+c.imported); (why == "") != c.ok {
			t.Errorf("%s imports %s: %q", c.from, c.imported, why)
		}
	}
}

func TestConstant(t *testing.T) {
	for _, c := range []struct {
		declaration string
		ok          bool
	}{
		{`var ErrGone = errors.New("gone")`, true},
		{`var errGone = errors.New("gone")`, true},
		{`var errEarly = api.Refused("too early", "wait")`, true},
		{`var form = regexp.MustCompile("a")`, true},
		{`var _ fmt.Stringer = (*T)(nil)`, true},
		{"//go:embed page.html\nvar page string", true},
		{`var gone = errors.New("gone")`, false},
		{`var errCount = len("abc")`, false},
		{`var cache = map[string]int{}`, false},
		{`var mu sync.Mutex`, false},
		{`var started = time.Now()`, false},
		{`var a, ErrB = 1, errors.New("b")`, false},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+c.declaration, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		d := f.Decls[0].(*ast.GenDecl)
		if got := constant(d, d.Specs[0].(*ast.ValueSpec)); got != c.ok {
			t.Errorf("%s: constant = %v", c.declaration, got)
		}
	}
}
