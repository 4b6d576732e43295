// Command cke is the daemon: HTTP API, reconcile loops and CKE's own store.
package main

import (
	"os"

	"cke/internal/daemon"
	"cke/internal/version"
)

func main() { os.Exit(daemon.Main(os.Args[1:], version.String(), os.Stdout, os.Stderr)) }
