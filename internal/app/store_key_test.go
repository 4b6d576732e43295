package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cke/internal/config"
)

// The key that opens the store is not everybody's; that of a group may be.
func TestTheStoresKeyIsNotEverybodys(t *testing.T) {
	key := filepath.Join(t.TempDir(), "store.key")
	must(t, os.WriteFile(key, nil, 0o600))
	s := config.Store{Endpoints: []string{"https://10.0.0.5:2379"}, Certificate: key, Key: key}
	for mode, refused := range map[os.FileMode]bool{0o600: false, 0o440: false, 0o640: false, 0o644: true, 0o602: true} {
		must(t, os.Chmod(key, mode))
		_, err := storeTLS(s) // an empty file is no key either
		if got := strings.Contains(err.Error(), "everybody"); got != refused {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if refused && hintOf(err) != "chmod 0600 "+key {
			t.Errorf("hint %q", hintOf(err))
		}
	}
}
