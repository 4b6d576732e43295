package lab

import (
	"sync"
	"testing"
)

// Fault is something that can be done to a lab and taken back. The functions
// below make them; nothing happens before Break.
type Fault struct {
	// Name says what it is, as in "cut h1 off".
	Name string
	// Break and Heal may be called from any goroutine; what one fault does the
	// other faults leave alone. Heal is nil if the fault is over at once.
	Break, Heal func() error
}

// Break does f, and takes it back when the returned function is called or t
// ends, whichever comes first. Trouble with either fails t.
func (l *Lab) Break(t testing.TB, f Fault) (heal func()) {
	t.Helper()
	t.Logf("lab: %s", f.Name)
	var once sync.Once
	heal = func() {
		t.Helper()
		once.Do(func() {
			if f.Heal == nil {
				return
			}
			if err := f.Heal(); err != nil {
				t.Errorf("heal %q: %v", f.Name, err)
			}
		})
	}
	t.Cleanup(heal) // a fault that broke half is healed too
	if err := f.Break(); err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return heal
}
