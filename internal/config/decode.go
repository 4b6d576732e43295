package config

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// decode reads a node into v: a struct by its yaml tags, a slice, a map of
// text, text, a bool, a whole number, or anything that reads itself from text.
// A value left empty, as in "zone:", counts as left out.
func (d *document) decode(path string, n *yaml.Node, v reflect.Value) {
	d.at[path] = position{n.Line, n.Column}
	if !d.plain(path, n) || isNull(n) {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.decodeText(path, n, v)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(path, n, v)
	case reflect.Map:
		d.decodeMap(path, n, v)
	case reflect.Slice:
		if !d.kind(path, n, yaml.SequenceNode, "a list") {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			if isNull(item) {
				d.fail(at, item, "an item of %s is empty", called(path))
				continue
			}
			d.decode(at, item, v.Index(i))
		}
	default:
		d.decodeScalar(path, n, v)
	}
}

// plain refuses the parts of YAML that make a file say something else than
// what one reads: anchors, aliases and tags.
func (d *document) plain(path string, n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(path, n, "aliases (*%.40s) are not supported; write the value out", n.Value)
	case n.Anchor != "":
		d.fail(path, n, "anchors (&%.40s) are not supported; write the value out where it is needed", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(path, n, "tags (%.40s) are not supported", n.Tag)
	default:
		return true
	}
	return false
}

// kind refuses a node of another kind than the one wanted.
func (d *document) kind(path string, n *yaml.Node, want yaml.Kind, wanted string) bool {
	if n.Kind == want {
		return true
	}
	d.fail(path, n, "%s is %s, not %s", called(path), describe(n), wanted)
	return false
}

// called is how messages name the value at a path: by its last key.
func called(path string) string {
	if path == "" {
		return "the file"
	}
	return short(path[strings.LastIndexByte(path, '.')+1:])
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return strconv.Quote(short(n.Value))
}

// short cuts what a message quotes.
func short(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

func (d *document) decodeScalar(path string, n *yaml.Node, v reflect.Value) {
	if !d.kind(path, n, yaml.ScalarNode, scalarName(v.Kind())) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		// What YAML takes for a number or a bool is text here, as it is written.
		v.SetString(n.Value)
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.fail(path, n, "%s is %s, not true or false", called(path), describe(n))
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Uint16:
		i, err := strconv.ParseUint(n.Value, 10, 16)
		if err != nil || n.Tag != "!!int" {
			d.fail(path, n, "%s is %s, not a whole number up to %d", called(path), describe(n), math.MaxUint16)
			return
		}
		d.refuseZero(path, n, i == 0)
		v.SetUint(i)
	default:
		i, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
		if err != nil || n.Tag != "!!int" {
			d.fail(path, n, "%s is %s, not a whole number", called(path), describe(n))
			return
		}
		d.refuseZero(path, n, i == 0)
		v.SetInt(i)
	}
}

func scalarName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	}
	return "a whole number"
}

func (d *document) decodeText(path string, n *yaml.Node, v reflect.Value) {
	_, isAddr := v.Interface().(netip.Addr)
	if n.Kind != yaml.ScalarNode {
		d.fail(path, n, "%s is %s, not a single value", called(path), describe(n))
		return
	}
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value))
	if isAddr && (err != nil || n.Value == "") {
		err = fmt.Errorf("%q is not an IP address", short(n.Value))
	}
	if err != nil {
		d.fail(path, n, "%s: %v", called(path), err)
		return
	}
	if v.CanInt() {
		d.refuseZero(path, n, v.IsZero())
	}
}

// refuseZero: a quantity of 0 would be taken for one left out.
func (d *document) refuseZero(path string, n *yaml.Node, zero bool) {
	if zero {
		d.fail(path, n, "%s may not be 0; leave it out for the default", called(path))
	}
}
