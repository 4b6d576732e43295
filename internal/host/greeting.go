package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
)

// protocol is the number of what is spoken behind the greeting.
const protocol = 1

// A greeting is the first line of protocol a helper writes: whatever a login
// shell printed before it, on the same line even, is noise.
var greetingRE = regexp.MustCompile(`cke-host serves http2 ([0-9]{1,6}) ([[:graph:]]{1,128}) ([a-z0-9]{1,16}) ([0-9a-f]{64})\n$`)

// Greeting is what a helper says of itself before it is asked anything.
type Greeting struct {
	Version string // of CKE
	Arch    string // in Go's words: amd64, arm64
	Sum     string // SHA-256 of the running program, in hex
}

// Myself is the greeting of this very program.
func Myself(version string) (Greeting, error) {
	// The file that runs, even when another one is at its path by now.
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return Greeting{}, fmt.Errorf("read the program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return Greeting{}, fmt.Errorf("read the program: %w", err)
	}
	return Greeting{Version: version, Arch: runtime.GOARCH, Sum: hex.EncodeToString(h.Sum(nil))}, nil
}

func (g Greeting) line() string {
	return fmt.Sprintf("cke-host serves http2 %d %s %s %s\n", protocol, g.Version, g.Arch, g.Sum)
}

// NoGreetingError says that no helper this program can talk to is at the other
// end.
type NoGreetingError struct {
	// Said is the end of what came instead. It is anything: show it quoted.
	Said []byte
	// Other is the helper that greets with another protocol.
	Other *Greeting
	// Ended: the stream ended, as that of a command that does not exist does.
	Ended bool
	Err   error
}

func (e *NoGreetingError) Error() string {
	if len(e.Said) == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("%v; the other end says %q", e.Err, e.Said)
}

func (e *NoGreetingError) Unwrap() error { return e.Err }

// noiseLimit bounds what is read while looking for the greeting, saidLimit what
// of it is shown.
const (
	noiseLimit = 64 << 10
	saidLimit  = 500
)

// awaitGreeting reads up to and including the greeting, byte by byte so that
// nothing behind it is taken.
func awaitGreeting(r io.Reader) (Greeting, error) {
	var read []byte
	line := 0 // where the present one begins
	one := make([]byte, 1)
	refuse := func(err error) (Greeting, error) {
		ended := errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
		if ended {
			err = errors.New("the stream ends before the helper's greeting")
		}
		return Greeting{}, &NoGreetingError{Said: excerpt(read), Ended: ended, Err: err}
	}
	for len(read) < noiseLimit {
		if _, err := io.ReadFull(r, one); err != nil {
			return refuse(err)
		}
		if read = append(read, one[0]); one[0] != '\n' {
			continue
		}
		m := greetingRE.FindSubmatch(read[line:])
		line = len(read)
		if m == nil {
			continue
		}
		g := Greeting{Version: string(m[2]), Arch: string(m[3]), Sum: string(m[4])}
		if n := string(m[1]); n != strconv.Itoa(protocol) {
			return g, &NoGreetingError{Other: &g, Err: fmt.Errorf("the helper speaks protocol %s, this program %d", n, protocol)}
		}
		return g, nil
	}
	return refuse(fmt.Errorf("no greeting within %d bytes", noiseLimit))
}

// excerpt is the end of what was said, without white space around it.
func excerpt(said []byte) []byte {
	said = bytes.TrimSpace(said)
	if len(said) > saidLimit {
		said = said[len(said)-saidLimit:]
	}
	return said
}
