// Package cli is ckecli: one file per command, each talking only to cke's API.
// What a script may rely on: exit code 0 done, 1 failed, 2 usage, 3 refused
// with the reason on stderr, 4 cke cannot be reached or does not lead; results on stdout alone;
// every long flag with one dash or two; JSON of every text with --output json.
package cli

import (
	"context"
	"io"
	"time"

	"cke/internal/api"
)

// Env is everything ckecli takes from its surroundings.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
	Now    func() time.Time
	// Version is ckecli's own.
	Version string
	// ConfigPath is the daemon's configuration, read when nothing else names a
	// server. It need not exist.
	ConfigPath string
	// LoadConfig reads where that daemon serves. It fails with fs.ErrNotExist
	// when there is no such file.
	LoadConfig func(path string) (Endpoint, error)
}

// Endpoint is where a daemon serves.
type Endpoint struct {
	Server string // unix:///path or https://host:port
	TLS    api.ClientTLS
}

// Main runs one command line, without the program's name, and returns the exit code.
func Main(ctx context.Context, args []string, env Env) int {
	root := New(env)
	root.SetArgs(singleDashes(root, args))
	return report(env.Stderr, root.ExecuteContext(ctx))
}
