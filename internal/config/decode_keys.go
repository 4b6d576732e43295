package config

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// decodeStruct reads a mapping whose keys are the struct's yaml tags.
func (d *document) decodeStruct(path string, n *yaml.Node, v reflect.Value) {
	if !d.kind(path, n, yaml.MappingNode, "a mapping") {
		return
	}
	fields, names := map[string]reflect.Value{}, []string{}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		fields[name], names = v.Field(i), append(names, name)
	}
	meant := map[string]bool{}
	d.eachKey(n, func(key, value *yaml.Node) {
		if field, ok := fields[key.Value]; ok {
			d.decode(join(path, key.Value), value, field)
			return
		}
		if guess := nearest(key.Value, names); guess != "" {
			meant[join(path, guess)] = true
			d.addAt(position{key.Line, key.Column}, "unknown key %q, did you mean %q?", short(key.Value), guess)
			return
		}
		d.addAt(position{key.Line, key.Column}, "unknown key %q%s", short(key.Value), knownKeys(path, names))
	})
	for at := range meant {
		// A key that was misspelt is not missing: its value is unknown.
		if _, there := d.at[at]; !there {
			d.failed[at] = true
		}
	}
}

func knownKeys(path string, names []string) string {
	where := "here"
	if path != "" {
		where = "in " + called(path)
	}
	if len(names) == 0 {
		return "; there are no keys " + where + " yet"
	}
	return "; the keys " + where + " are " + strings.Join(names, ", ")
}

// decodeMap reads a mapping from any key to text.
func (d *document) decodeMap(path string, n *yaml.Node, v reflect.Value) {
	if !d.kind(path, n, yaml.MappingNode, "a mapping") {
		return
	}
	if len(n.Content) > 0 {
		v.Set(reflect.MakeMap(v.Type()))
	}
	d.eachKey(n, func(key, value *yaml.Node) {
		at := join(path, key.Value)
		if isNull(value) {
			d.fail(at, key, "%s has no value; write \"\" for an empty one", short(key.Value))
			return
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.decode(at, value, item)
		v.SetMapIndex(reflect.ValueOf(key.Value), item)
	})
}

// eachKey calls fn for every key of a mapping that is plain text and the first
// of its name.
func (d *document) eachKey(n *yaml.Node, fn func(key, value *yaml.Node)) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := position{key.Line, key.Column}
		line, repeated := first[key.Value]
		switch {
		case key.Tag == "!!merge":
			d.addAt(at, "merge keys (<<) are not supported; write the values out")
		case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0:
			d.addAt(at, "a key is not plain text")
		case repeated:
			d.addAt(at, "repeated key %q, first at line %d", short(key.Value), line)
		default:
			first[key.Value] = key.Line
			fn(key, n.Content[i+1])
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
