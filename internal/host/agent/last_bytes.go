package agent

import "strings"

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	b   []byte
	cut bool
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	if n := len(l.b) - tailBytes; n > 0 {
		l.b, l.cut = append(l.b[:0:0], l.b[n:]...), true
	}
	return len(p), nil
}

// lines are the whole lines of it, and the last one as far as it goes.
func (l *lastBytes) lines() string {
	text := string(l.b)
	if l.cut {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}
