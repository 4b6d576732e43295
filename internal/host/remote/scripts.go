package remote

import (
	"fmt"
	"regexp"
	"strings"
)

// What is run on a machine: one of these and nothing else. All that varies is
// cke's own: checksums, and the directory of helpers.

// sudoCommand runs the helper an administrator installed, for a user whose
// sudoers line allows exactly this.
const sudoCommand = "sudo -n cke-host serve"

// answerRE is what serveScript says when it has no helper to run.
var answerRE = regexp.MustCompile(`(?m)^cke: no helper for ([A-Za-z0-9_.-]{1,32}) here$`)

// serveScript becomes the helper of the machine's architecture if it is there
// and whole, or says which architecture that is. Only sh and what coreutils and
// busybox both have is used; there is no quote in it, so that every login shell
// can hand it on.
func serveScript(dir string, sums map[string]string) string {
	var cases strings.Builder
	for _, a := range arches() {
		sum := sums[a.name]
		if sum == "" {
			sum = "none"
		}
		fmt.Fprintf(&cases, "%s) s=%s;; ", a.uname, sum)
	}
	return inShell(fmt.Sprintf(`m=$(uname -m); case $m in %s*) s=none;; esac; f=%s/cke-host-$s; `+
		`if echo "$s  $f" | sha256sum -c >/dev/null 2>&1; then exec "$f" serve; fi; echo "cke: no helper for $m here"`, cases.String(), dir))
}

// uploadScript stores what comes on its standard input as the helper with this
// checksum, whole or not at all, and then removes those of other versions.
func uploadScript(dir, sum string) string {
	return inShell(fmt.Sprintf(`d=%s; s=%s; f=$d/cke-host-$s; t=$d/.upload-$$; umask 022; `+
		`mkdir -p "$d" || exit 1; trap "rm -f $t" EXIT; `+
		`cat >"$t" || exit 1; `+
		`if echo "$s  $t" | sha256sum -c >/dev/null 2>&1; then :; else echo "what arrived has another checksum" >&2; exit 1; fi; `+
		`chmod 0755 "$t" && { sync "$t" 2>/dev/null || sync; } && mv -f "$t" "$f" && sync || exit 1; `+
		`for o in "$d"/cke-host-*; do [ "$o" = "$f" ] || rm -f "$o"; done; echo stored`, dir, sum))
}

// inShell runs a script without single quotes in sh, whatever the login shell is.
func inShell(script string) string { return "exec sh -c '" + script + "'" }
