package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

var errDraining = errors.New("the daemon is stopping")

type drainKey struct{}

// HTTPServer runs a handler of NewServer on the listeners it is given: Serve
// for ListenUnix, ServeTLS(l, "", "") for TLSConfig set as its TLSConfig. It
// notes who calls, limits how long a request may take to arrive, and ends the
// endless streams at Shutdown, which would wait for them for ever.
func HTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	draining, cancel := context.WithCancel(context.Background())
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ConnContext:       withPeer,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), drainKey{}, draining)
		},
	}
	srv.RegisterOnShutdown(cancel)
	return srv
}

// drain ends when the server is shutting down.
func drain(ctx context.Context) context.Context {
	if d, ok := ctx.Value(drainKey{}).(context.Context); ok {
		return d
	}
	return context.WithoutCancel(ctx)
}
