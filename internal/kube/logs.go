package kube

import (
	"context"
	"log/slog"

	"k8s.io/klog/v2"
)

// RouteLogs sends what client-go logs to log, for debugging: what matters of it
// comes back as errors too, and becomes conditions. client-go logs through a
// logger of the process that may not be changed while it is in use, so a daemon
// calls this once, before it makes a Publisher. Without it, it goes to standard
// error.
func RouteLogs(log *slog.Logger) {
	klog.SetSlogLogger(slog.New(quieted{log.Handler()}))
}

// quieted makes every record one for debugging. Below that level client-go logs what it
// sends and gets, the keys in Secrets among it: nobody is given that.
type quieted struct{ slog.Handler }

// Enabled asks for the level that records will have.
func (q quieted) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelDebug && q.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle passes the record on, if anyone wants it: klog does not always ask.
func (q quieted) Handle(ctx context.Context, r slog.Record) error {
	if !q.Enabled(ctx, r.Level) {
		return nil
	}
	r.Level = slog.LevelDebug
	return q.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapping.
func (q quieted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quieted{q.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapping.
func (q quieted) WithGroup(name string) slog.Handler { return quieted{q.Handler.WithGroup(name)} }
