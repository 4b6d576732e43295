package config

import (
	"encoding"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"cke/internal/cluster"
)

// The guide shows each file whole: what may be in it, and that it can be read.
func TestTheGuideShowsEveryKey(t *testing.T) {
	guide, err := os.ReadFile("../../docs/etcd.md")
	if err != nil {
		t.Fatal(err)
	}
	for first, into := range map[string]any{"name: main ": &cluster.Spec{}, "data_dir: ": &Daemon{}} {
		_, text, found := strings.Cut(string(guide), "\n```yaml\n"+first)
		text, _, ended := strings.Cut(text, "\n```\n")
		if !found || !ended {
			t.Fatalf("the guide has no file that begins with %q", first)
		}
		// What is left out by default is there as a comment.
		text = regexp.MustCompile(`(?m)^( *)# ( *[a-z_]+:( |$))`).ReplaceAllString(first+text, "$1$2")
		if _, isDaemons := into.(*Daemon); isDaemons {
			if _, err := ParseDaemon("etcd.md", []byte(text)); err != nil {
				t.Error(err)
			}
		}
		d := readDocument("etcd.md", []byte(text), into)
		for _, p := range d.problems {
			t.Error(p)
		}
		for _, key := range keysOf("", reflect.TypeOf(into).Elem()) {
			if _, shown := d.at[key]; !shown {
				t.Errorf("the guide's file that begins with %q has no %s", first, key)
			}
		}
	}
}

// keysOf are the paths of all keys that a type is read from; of a list those of its
// first item.
func keysOf(path string, t reflect.Type) (keys []string) {
	if path != "" {
		keys = append(keys, path)
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return keys
	}
	switch t.Kind() {
	case reflect.Slice:
		keys = append(keys, keysOf(path+"[0]", t.Elem())...)
	case reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			if f := t.Field(i).Type; f.Kind() != reflect.Struct || f.NumField() > 0 { // an empty one is for later
				keys = append(keys, keysOf(strings.TrimPrefix(path+"."+name, "."), f)...)
			}
		}
	}
	return keys
}
