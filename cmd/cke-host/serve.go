package main

import (
	"context"
	"flag"
	"log/slog"
	"os"

	"cke/internal/host"
	"cke/internal/host/agent"
	"cke/internal/version"
)

func serve(flags *flag.FlagSet) func() error {
	root := flags.String("root", "/", "the directory that everything lies below")
	releases := flags.String("releases", "", "where v<version>/etcd lies; default ROOT/opt/cke/etcd")
	return func() error {
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
	}
}
