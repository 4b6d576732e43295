// Command cke-host is CKE's helper on a managed machine. `cke-host serve`
// answers on its standard input and output and ends with them.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"cke/internal/host"
	"cke/internal/host/agent"
	"cke/internal/version"
)

const usage = `usage: cke-host serve [--root DIR] [--releases DIR]   answer on stdin and stdout
       cke-host version
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cke-host:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("cke-host", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	root := flags.String("root", "/", "the directory that everything lies below")
	releases := flags.String("releases", "", "where v<version>/etcd lies; default ROOT/opt/cke/etcd")
	if len(args) == 0 {
		return fmt.Errorf("no command is given\n%s", usage)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("%w\n%s", err, usage)
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q\n%s", flags.Arg(0), usage)
	case args[0] == "serve":
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		me, err := host.Myself(version.String())
		if err != nil {
			return err
		}
		runtime := agent.ProcessRuntime
		if *root == "/" {
			runtime = agent.MachineRuntime() // the machine is all CKE's
		}
		a := agent.New(agent.Options{Root: *root, Releases: *releases, Log: log, Helper: version.String(), Runtime: runtime})
		return host.ServeStdio(context.Background(), os.Stdin, os.Stdout, me, a.Handler(), log)
	case args[0] == "version":
		fmt.Println(version.String())
		return nil
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}
