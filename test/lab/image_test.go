package lab

import "testing"

func TestTheMirrorIsTheOneOfTheBox(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"paragraphs": {`Types: deb
# http://snapshot.example/debian
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
`, "http://mirror.example/debian"},
		"lines": {`# deb http://old.example/debian bookworm main
deb http://mirror.example/security bookworm-security main
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] https://mirror.example/debian bookworm main
`, "https://mirror.example/debian"},
		"something else": {"deb https://packages.example/apt stable main\nURIs: https://packages.example\nSuites: nodistro\n", ""},
		"broken":         {"deb\ndeb [\nURIs:\nSuites:\n", ""},
	} {
		if got := mirrorIn(c.text); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestTheClockOfThisGoCanBeShifted(t *testing.T) {
	if _, err := timeOverlay(t.TempDir()); err != nil {
		t.Error(err)
	}
	if _, err := shiftNow("package time\n"); err == nil {
		t.Error("a time.go that reads no clock was shifted")
	}
}
