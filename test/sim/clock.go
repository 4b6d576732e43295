package sim

import "time"

// Clocks that are wrong. A machine's jumps while it runs. That of cke's machine is
// another from the next daemon on, as when another machine's leads: the one that runs
// counts by Go's monotonic clock, which does not jump.

const (
	// validFrom is how much earlier than they are issued certificates are good: a clock
	// that is further behind takes them for none, and is believed by nobody.
	validFrom = 5 * time.Minute
	jumpBack  = -time.Hour
	// mostWrong is how wrong cke's clock may be.
	mostWrong = 2 * time.Minute
)

// mistimed: handshakes with its member fail, for one end takes the other's certificate
// for one that is not good yet.
func (m *machine) mistimed() bool { return m.skew < -validFrom }

// setClock sets the machine's clock that far from the right time.
func (m *machine) setClock(skew time.Duration) {
	was := m.mistimed()
	m.skew = skew
	switch {
	case was && !m.mistimed():
		m.met()
	case !was && m.mistimed() && m.proc != nil:
		m.w.mark("a member whose clock is far behind")
	}
}

// setCKEsClock has the next daemons go by a clock that is that far from the right one.
func (w *World) setCKEsClock(skew time.Duration) {
	w.skew = skew
	if w.newest().skew != skew {
		w.killNewest()
	}
}

// tellsTime notes a daemon that goes by a wrong clock and finds what another wrote by
// its own.
func (w *World) tellsTime(c *CKE) {
	if f := w.shelf; c.skew != 0 && (f.restart != nil || f.reboot != nil || f.snapshot != nil || len(f.drains) > 0) {
		w.mark("another's times and a wrong clock")
	}
}
