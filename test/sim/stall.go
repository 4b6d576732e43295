package sim

import "time"

// A daemon may stand still for a moment anywhere, for less than its lead lasts: what
// it saw before is old news when it goes on.
const (
	stallLeast = 200 * time.Millisecond
	stallMost  = 2500 * time.Millisecond
)

// count counts the daemon's questions and changes until it stands still.
func (c *CKE) count() {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.stallsIn == 0 {
		return
	}
	if c.stallsIn--; c.stallsIn > 0 || c.dead || c.frozen != nil {
		return
	}
	c.freeze()
	still := c.frozen
	w.after(w.between("stall", stallLeast, stallMost), "go on", func() {
		if c.frozen == still {
			c.resume()
		}
	})
}
