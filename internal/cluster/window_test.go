package cluster

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	at := func(text string) time.Time {
		v, err := time.Parse("Mon 2006-01-02 15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		window Window
		at     string
		open   bool
		next   string
	}{
		{"", "Fri 2026-01-02 03:04:05", true, ""},
		{"02:00-04:00", "Fri 2026-01-02 03:04:05", true, ""},
		{"02:00-04:00", "Fri 2026-01-02 02:00:00", true, ""},
		{"02:00-04:00", "Fri 2026-01-02 04:00:00", false, "Sat 2026-01-03 02:00:00"},
		{"02:00-04:00", "Fri 2026-01-02 01:59:59", false, "Fri 2026-01-02 02:00:00"},
		{"Sun 02:00-04:00", "Fri 2026-01-02 03:04:05", false, "Sun 2026-01-04 02:00:00"},
		{"Sun 02:00-04:00", "Sun 2026-01-04 05:00:00", false, "Sun 2026-01-11 02:00:00"},
		// Over midnight it belongs to the day it begins on.
		{"Fri 22:00-02:00", "Sat 2026-01-03 01:00:00", true, ""},
		{"Fri 22:00-02:00", "Fri 2026-01-02 01:00:00", false, "Fri 2026-01-02 22:00:00"},
		{"Sat-Mon 10:00-11:00", "Sun 2026-01-04 10:30:00", true, ""},
		{"Sat-Mon 10:00-11:00", "Tue 2026-01-06 10:30:00", false, "Sat 2026-01-10 10:00:00"},
		{"Mon,Wed 10:00-11:00; Sun 03:00-04:00", "Wed 2026-01-07 10:30:00", true, ""},
		{"Mon,Wed 10:00-11:00; Sun 03:00-04:00", "Sat 2026-01-03 10:30:00", false, "Sun 2026-01-04 03:00:00"},
		{"00:00-00:00", "Fri 2026-01-02 12:00:00", true, ""},
	} {
		now := at(c.at)
		if got := c.window.Open(now); got != c.open {
			t.Errorf("%q at %s: open %v", c.window, c.at, got)
		}
		want := now
		if c.next != "" {
			want = at(c.next)
		}
		if got := c.window.Next(now); !got.Equal(want) {
			t.Errorf("%q opens after %s at %s, want %s", c.window, c.at, got, want)
		}
		if err := c.window.Check(); err != nil {
			t.Error(err)
		}
	}
	for _, w := range []Window{"x", "Sun", "Sunday 02:00-04:00", "2:00-4:00", "Sun 02:00", "24:00-25:00", "Sun,  02:00-04:00", ";", "02:00-04:00;", "Sun Mon 02:00-04:00", "Mon- 02:00-03:00"} {
		if w.Check() == nil {
			t.Errorf("%q is taken", w)
		}
		if w.Open(at("Sun 2026-01-04 03:00:00")) {
			t.Errorf("%q cannot be read and is open", w)
		}
	}
}
