package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestNoStoreLiesWithinAnothers: of two prefixes that are taken, neither one's keys lie
// among the other's, unless both are the same place.
func TestNoStoreLiesWithinAnothers(t *testing.T) {
	taken := map[string]string{ // and where the keys are
		"/cke/": "/cke/", "/a/": "/a/cke/", "/a/cke/": "/a/cke/", "/a/b/": "/a/b/cke/", "/cke-a/": "/cke-a/cke/",
		"/acke/": "/acke/cke/", "/cke.d/a/": "/cke.d/a/cke/", "/team/a/": "/team/a/cke/",
	}
	for prefix, keys := range taken {
		if _, err := parseStore(prefix); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
		for other, theirs := range taken {
			if keys != theirs && strings.HasPrefix(theirs, keys) {
				t.Errorf("the keys of %s lie among those of %s", other, prefix)
			}
		}
	}
	for prefix, beside := range map[string]string{
		"/cke/a/": "/a/cke/", "/cke/clusters/": "/clusters/cke/", "/cke/cke/": "/cke/", "/a/cke/b/": "/a/b/cke/", "/a/cke/b/cke/": "/a/b/cke/",
		"/cke/cke/cke/": "/cke/",
	} {
		_, err := parseStore(prefix)
		if err == nil || !strings.Contains(err.Error(), ":2:11: prefix") || !strings.HasSuffix(err.Error(), " like "+beside) {
			t.Errorf("%s: %v", prefix, err)
		}
		if _, err := parseStore(beside); err != nil {
			t.Errorf("%s is told to do: %v", beside, err)
		}
	}
}

func parseStore(prefix string) (Daemon, error) {
	return ParseDaemon("c", fmt.Appendf(nil, "store:\n  prefix: %s\n  endpoints: [https://10.0.0.5:2379]\n", prefix))
}
