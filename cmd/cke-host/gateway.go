package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"cke/internal/gateway"
)

func lead(flags *flag.FlagSet) func() error {
	list := flags.String("list", "", "the file with the upstreams")
	state := flags.String("state", "", "the socket that says how the gateway stands")
	var listen netip.Addr
	flags.Func("listen", "the loopback address; default 127.0.0.1, and ::1 if there is IPv6", func(s string) (err error) {
		if listen, err = netip.ParseAddr(s); err == nil && !listen.IsLoopback() {
			err = errors.New("it is no loopback address")
		}
		return err
	})
	return func() error {
		if *list == "" || *state == "" {
			return fmt.Errorf("gateway needs --list and --state\n%s", usage)
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP)
		return gateway.Run(ctx, gateway.Options{
			List: *list, State: *state, Listen: listen, Reload: reload, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
	}
}
