package cluster

import "testing"

func TestPlainTextHoldsNoEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"cp1: ümlaut … ok\n\tnext":         "cp1: ümlaut … ok\n\tnext",
		"\x1b]0;title\a\x1b[2Jgone\r":      "�]0;title��[2Jgone�",
		"\u009b31m \u202egnp.exe \xff\x7f": "�31m �gnp.exe ��",
	} {
		if got := Plain(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
