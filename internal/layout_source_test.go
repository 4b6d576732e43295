package layout_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The budgets of docs/STYLE.md.
const (
	fileLines = 400
	funcLines = 60
	mainLines = 60
)

// source is one non-test file of this module.
type source struct {
	path string // below the module
	text []byte
	fset *token.FileSet
	ast  *ast.File
}

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

func (s source) lines() int { return bytes.Count(s.text, []byte("\n")) }

func sources(t *testing.T) []source {
	t.Helper()
	own, _ := listed(t)
	var all []source
	for _, p := range own {
		dir, _ := name(p.ImportPath)
		for _, f := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			fset := token.NewFileSet()
			tree, err := parser.ParseFile(fset, f, text, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, source{filepath.Join(dir, f), text, fset, tree})
		}
	}
	return all
}

func TestFilesAndFunctionsStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		limit := fileLines
		if strings.HasPrefix(s.path, "cmd/") {
			limit = mainLines
		}
		if n := s.lines(); n > limit {
			t.Errorf("%s has %d lines; at most %d", s.path, n, limit)
		}
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > funcLines {
				t.Errorf("%s:%d: %s has %d lines; at most %d", s.path, s.line(f.Pos()), f.Name.Name, n, funcLines)
			}
		}
	}
}

func TestNoGlobalState(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s:%d: init() runs before anyone asked for it", s.path, s.line(d.Pos()))
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					v := spec.(*ast.ValueSpec)
					if !constant(d, v) {
						t.Errorf("%s:%d: package variable %s is neither a sentinel error nor a compiled regexp",
							s.path, s.line(v.Pos()), v.Names[0].Name)
					}
				}
			}
		}
	}
}

// constant says whether a package variable is one only because Go has no
// constants of its type: a sentinel error, a compiled regexp, an embedded file,
// or `var _ Interface = …`.
func constant(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	if len(v.Names) == 1 && v.Names[0].Name == "_" {
		return true
	}
	if len(v.Values) != len(v.Names) {
		return false
	}
	for i, value := range v.Values {
		call, ok := value.(*ast.CallExpr)
		if !ok {
			return false
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		pkg, ok := f.X.(*ast.Ident)
		if !ok {
			return false
		}
		switch called := pkg.Name + "." + f.Sel.Name; {
		case called == "regexp.MustCompile":
		case makesError(called) && strings.HasPrefix(strings.ToLower(v.Names[i].Name), "err"):
		default:
			return false
		}
	}
	return true
}

// makesError says whether this function returns a new error, with or without a
// hint.
func makesError(f string) bool {
	return f == "errors.New" || f == "api.Refused" || f == "api.Invalid"
}

func TestPackagesAreNamedAfterWhatTheyDo(t *testing.T) {
	bad := []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "lib", "tools"}
	for _, s := range sources(t) {
		for _, b := range bad {
			if s.ast.Name.Name == b {
				t.Errorf("%s: package %s does not say what it promises", s.path, b)
			}
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		dir := filepath.Dir(s.path)
		documented[dir] = documented[dir] || s.ast.Doc != nil
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}
