package cli

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// What a machine or a member said may be shown, and no more than shown.
func TestNothingPrintedDrivesTheTerminal(t *testing.T) {
	const evil = "\x1b]52;c;cm0=\a\u009b2J ok"
	var out bytes.Buffer
	if code := report(&out, errors.New(evil)); code != exitFailed {
		t.Errorf("code %d", code)
	}
	s := &session{env: Env{Stdout: &out}}
	if err := errors.Join(s.say(evil), newScreen(&out).draw(evil), s.print(&outputFlag{value: asText}, nil, func() string { return evil })); err != nil {
		t.Fatal(err)
	}
	for _, r := range []io.Reader{strings.NewReader(evil), iotest.OneByteReader(strings.NewReader(evil))} {
		if err := copyPlain(&out, r); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.String(); strings.ContainsAny(got, "\x1b\a\u009b") || strings.Count(got, "�]52;c;cm0=��2J ok") != 6 {
		t.Errorf("%q", got)
	}
	broken := iotest.ErrReader(errors.New("it breaks off"))
	if err := copyPlain(&out, io.MultiReader(strings.NewReader("x"), broken)); err == nil || !strings.HasSuffix(out.String(), "x") {
		t.Errorf("%v %q", err, out.String())
	}
}
