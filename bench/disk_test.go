package main

import (
	"strings"
	"testing"
)

func TestUnwritten(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		want  int64
		fails bool
	}{
		"both count":       {"MemFree:  5 kB\nDirty:   3 kB\nWriteback:    4 kB\nWritebackTmp:  9 kB\n", 7 << 10, false},
		"one is not there": {"Dirty:   3 kB\n", 0, true},
		"no number":        {"Dirty:   many kB\nWriteback: 1 kB\n", 0, true},
	} {
		if got, err := readUnwritten(strings.NewReader(c.text)); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	if n, err := unwritten(); err != nil || n < 0 {
		t.Errorf("of this machine: %d, %v", n, err)
	}
}
