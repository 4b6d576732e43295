package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	maxFile  = 1 << 20
	maxDepth = 32
)

// document is one YAML file on its way into a Go value.
type document struct {
	file     string
	problems []Problem
	// at is where each value lies, by its path ("nodes[1].address").
	at map[string]position
	// failed are the paths that could not be read. Their values are unknown,
	// which is something else than absent.
	failed map[string]bool
}

type position struct{ line, column int }

// readDocument decodes data into target, a pointer to a struct.
func readDocument(file string, data []byte, target any) *document {
	d := &document{file: file, at: map[string]position{}, failed: map[string]bool{}}
	root := d.load(data)
	if root == nil {
		d.failed[""] = true
		return d
	}
	d.decode("", root, reflect.ValueOf(target).Elem())
	return d
}

// load returns the first document's content, or nil after adding a problem.
func (d *document) load(data []byte) *yaml.Node {
	if len(data) > maxFile {
		d.addAt(position{1, 1}, "the file is larger than %d bytes", maxFile)
		return nil
	}
	if p, why := unreadable(data); why != "" {
		d.addAt(p, "%s", why)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		d.addAt(position{1, 1}, "%v", err)
		return nil
	}
	var first, second yaml.Node
	switch err := loader.Load(&first); {
	case errors.Is(err, io.EOF):
		d.addAt(position{1, 1}, "the file is empty")
		return nil
	case err != nil:
		d.syntax(data, err)
		return nil
	}
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntax(data, err)
	default:
		d.addAt(position{second.Line, second.Column}, "a second document starts here; a file holds one")
	}
	if first.Kind != yaml.DocumentNode || len(first.Content) != 1 || isNull(first.Content[0]) {
		d.addAt(position{1, 1}, "the file is empty")
		return nil
	}
	return first.Content[0]
}

// syntax adds what the YAML library says about text that is not YAML.
func (d *document) syntax(data []byte, err error) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		d.addAt(position{1, 1}, "%.200s", err)
		return
	}
	p := position{max(le.Mark.Line, 1), max(le.Mark.Column, 1)}
	if line := lineOf(data, p.line); strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
		d.addAt(p, "a tab may not indent a line; use spaces")
		return
	}
	message := le.Message
	if le.ContextMsg != "" {
		message += ", " + le.ContextMsg
		if c := le.ContextMark; c.Line > 0 && c.Line != p.line {
			message += fmt.Sprintf(" that starts at %d:%d", c.Line, c.Column)
		}
	}
	d.addAt(p, "%.200s", message)
}

// unreadable finds the first byte that cannot be in a YAML file.
func unreadable(data []byte) (position, string) {
	p := position{1, 1}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return p, "the file is not UTF-8 text"
		case r == '\n':
			p = position{p.line + 1, 0}
		case r < ' ' && r != '\t' && r != '\r', r >= 0x7f && r < 0xa0:
			return p, fmt.Sprintf("control character %U in the file", r)
		}
		p.column++
		i += n
	}
	return p, ""
}

func lineOf(data []byte, number int) string {
	n := 0
	for line := range strings.Lines(string(data)) {
		if n++; n == number {
			return line
		}
	}
	return ""
}

// locate is where a path lies, or the closest that holds it.
func (d *document) locate(path string) position {
	for {
		if p, ok := d.at[path]; ok {
			return p
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			break
		}
		path = path[:i]
	}
	if p, ok := d.at[""]; ok {
		return p
	}
	return position{1, 1}
}

func (d *document) addAt(p position, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: p.line, Column: p.column, Message: fmt.Sprintf(format, args...)})
}

// fail adds a problem of the value at path, which stays unknown.
func (d *document) fail(path string, n *yaml.Node, format string, args ...any) {
	d.failed[path] = true
	d.addAt(position{n.Line, n.Column}, format, args...)
}

// unknown says whether the value at path, or one that holds it, could not be read.
func (d *document) unknown(path string) bool {
	for !d.failed[path] {
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return d.failed[""]
		}
		path = path[:i]
	}
	return true
}
