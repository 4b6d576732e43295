package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"cke/internal/cluster"
)

// screen draws a text over the one before on a terminal, and one below the
// other elsewhere.
type screen struct {
	w     io.Writer
	file  *os.File // nil: not a terminal
	lines int      // drawn last
}

func newScreen(w io.Writer) *screen {
	f, _ := terminal(w)
	return &screen{w: w, file: f}
}

// terminal returns the file of a writer that is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, false
	}
	return f, true
}

func (s *screen) draw(text string) error {
	text = cluster.Plain(text)
	if s.file == nil {
		if s.lines > 0 {
			text = "\n" + text
		}
		s.lines = 1
		return s.put(text)
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	// Cursor movements count rows: a line longer than the window would be two.
	if width, height, err := term.GetSize(int(s.file.Fd())); err == nil && width > 0 && height > 1 {
		lines = lines[:min(len(lines), height-1)]
		for i, l := range lines {
			if r := []rune(l); len(r) > width {
				lines[i] = string(r[:width])
			}
		}
	}
	up := ""
	if s.lines > 0 {
		up = fmt.Sprintf("\x1b[%dA", s.lines)
	}
	s.lines = len(lines)
	return s.put(up + "\x1b[J" + strings.Join(lines, "\n") + "\n")
}

func (s *screen) put(text string) error {
	if _, err := io.WriteString(s.w, text); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
