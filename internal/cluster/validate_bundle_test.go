package cluster

import (
	"strings"
	"testing"
	"time"

	"cke/internal/units"
)

func TestValidateBundle(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Bundle)
		want   string // part of the error; empty: it is good
	}{
		"good":               {func(*Bundle) {}, ""},
		"shortest":           {func(b *Bundle) { b.TTL = MinBundleTTL }, ""},
		"too short":          {func(b *Bundle) { b.TTL = MinBundleTTL - units.Duration(time.Second) }, "is too short: at least 1h"},
		"no ttl":             {func(b *Bundle) { b.TTL = 0 }, "is too short"},
		"dots in the name":   {func(b *Bundle) { b.Name = "etcd.app.v1" }, ""},
		"longest name":       {func(b *Bundle) { b.Name = strings.Repeat(strings.Repeat("a", 50)+".", 4) + strings.Repeat("a", 49) }, ""},
		"name too long":      {func(b *Bundle) { b.Name = strings.Repeat(strings.Repeat("a", 50)+".", 4) + strings.Repeat("a", 50) }, "is no name of a Secret"},
		"empty label":        {func(b *Bundle) { b.Name = "etcd..app" }, "is no name of a Secret"},
		"no name":            {func(b *Bundle) { b.Name = "" }, "is no name of a Secret"},
		"a path":             {func(b *Bundle) { b.Name = "../app" }, "is no name of a Secret"},
		"no namespace":       {func(b *Bundle) { b.Namespace = "" }, "is not a DNS label"},
		"dots in namespace":  {func(b *Bundle) { b.Namespace = "a.b" }, "is not a DNS label"},
		"capitals":           {func(b *Bundle) { b.Namespace = "Shop" }, "is not a DNS label"},
		"namespace too long": {func(b *Bundle) { b.Namespace = strings.Repeat("a", 64) }, "is not a DNS label"},
		"root":               {func(b *Bundle) { b.User = RootUser }, "handed to nobody"},
		"the API server":     {func(b *Bundle) { b.User = APIServerUser }, "never as a Secret"},
	} {
		b := Bundle{User: "app", Namespace: "shop", Name: "etcd", TTL: DefaultBundleTTL}
		c.change(&b)
		err := ValidateBundle(b)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Whatever a user may be called, a Secret may be called after it.
func TestBundleName(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"app": "etcd-app", "Web.1": "etcd-web-1", "a@b:c_d": "etcd-a-b-c-d", "x_": "etcd-x", "A9-": "etcd-a9",
		strings.Repeat("z", maxUserName): "etcd-" + strings.Repeat("z", maxUserName),
	} {
		if err := validateUserName(user); err != nil {
			t.Fatal(err)
		}
		got := BundleName(user)
		if got != want {
			t.Errorf("%s: %s, want %s", user, got, want)
		}
		if err := ValidateBundle(Bundle{User: user, Namespace: "shop", Name: got, TTL: DefaultBundleTTL}); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
}
