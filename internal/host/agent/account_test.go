package agent

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"cke/internal/host"
)

// A directory in which somebody but root may put links is none that root
// changes owners and modes below.
func TestOnlyRootWrites(t *testing.T) {
	for name, c := range map[string]struct {
		mode fs.FileMode
		uid  int
		ok   bool
	}{
		"root's":              {0o755, 0, true},
		"another's":           {0o755, 65534, false},
		"a group may write":   {0o775, 0, false},
		"everybody may write": {0o777, 0, false},
	} {
		dir := t.TempDir()
		must(t, os.Chmod(dir, c.mode))
		if os.Geteuid() == 0 {
			must(t, os.Chown(dir, c.uid, 0))
		} else if c.ok {
			continue // whose directory it is cannot be root
		}
		info, err := os.Stat(dir)
		must(t, err)
		var g *host.GuardError
		err = onlyRootWrites(dir, info)
		if c.ok && err != nil || !c.ok && (!errors.As(err, &g) || g.Kind != host.NotRoots) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
