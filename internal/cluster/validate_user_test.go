package cluster

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestValidateUser(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct{ name, prefix, want string }{
		{"app", "/app/", ""},
		{"App_1.x@example:y-z", "/app", ""},
		{"1", "no slash", ""},
		{long[:63], "/ü/", ""},
		{"Root", "/registr", "overlaps /registry/"},
		{"", "/app/", "user name is empty"},
		{"root", "/app/", "user name root is reserved"},
		{"kube-apiserver", "/app/", "user name kube-apiserver is reserved"},
		{"ca", "/app/", "user name ca is reserved"},
		{long, "/app/", "is 64 characters long; at most 63"},
		{"a b", "/app/", "may hold only"},
		{"a/b", "/app/", "may hold only"},
		{"..", "/app/", "may hold only"},
		{"-h", "/app/", "may hold only"},
		{"a\n", "/app/", "may hold only"},
		{"a\x00", "/app/", "may hold only"},
		{"ä", "/app/", "may hold only"},
		{"app", "", "prefix is empty"},
		{"app", "/a\x00", "not printable"},
		{"app", "/a\n", "not printable"},
		{"app", "/a\xff", "not printable"},
		{"app", "/a\u200b", "not printable"},
		{"app", "/" + strings.Repeat("a", 1024), "at most 1024"},
		{"app", "/", "overlaps /registry/"},
		{"app", "/registry/pods/", "belongs to user kube-apiserver"},
	} {
		err := ValidateUser(User{Name: c.name, Prefix: c.prefix})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("user %q with prefix %q: %v, want %q", c.name, c.prefix, err, c.want)
		}
	}
}

func smallKey() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 'b', 0xfe, 0xff}), 0, 4), func(b []byte) string { return string(b) })
}

// The range holds exactly the keys with the prefix.
func TestPrefixRangeEnd(t *testing.T) {
	for prefix, want := range map[string]string{
		"/app/": "/app0", "a": "b", "a\xff": "b", "a\xff\xff": "b", "\xff": "\x00", "\xff\xff": "\x00", "": "\x00", "\xfe\xff": "\xff", "a\x00": "a\x01",
	} {
		if got := PrefixRangeEnd(prefix); got != want {
			t.Errorf("PrefixRangeEnd(%q) = %q, want %q", prefix, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		prefix, key := smallKey().Draw(t, "prefix"), smallKey().Draw(t, "key")
		end := PrefixRangeEnd(prefix)
		within := key >= prefix && (end == "\x00" || key < end)
		if within != strings.HasPrefix(key, prefix) {
			t.Fatalf("key %q, prefix %q: in [%q, %q) is %v", key, prefix, prefix, end, within)
		}
	})
}

// Two prefixes overlap exactly where their ranges share a key.
func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"/app/", "/app/", true}, {"/app/", "/app/x/", true}, {"/app", "/apple/", true}, {"/app/", "/apple/", false}, {"/a/", "/b/", false}, {"/", "/b/", true}} {
		if Overlaps(c.a, c.b) != c.want || Overlaps(c.b, c.a) != c.want {
			t.Errorf("%q and %q: overlap is not %v", c.a, c.b, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := smallKey().Draw(t, "a"), smallKey().Draw(t, "b")
		endA, endB := PrefixRangeEnd(a), PrefixRangeEnd(b)
		share := (endB == "\x00" || a < endB) && (endA == "\x00" || b < endA)
		if Overlaps(a, b) != share || Overlaps(b, a) != share {
			t.Fatalf("%q and %q: overlap is %v, ranges share a key: %v", a, b, Overlaps(a, b), share)
		}
	})
}
