package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// fatality remembers the first message after which etcd would have ended the
// process.
type fatality struct {
	once sync.Once
	done chan struct{}
	err  error
	// closing is set when etcd is asked to stop.
	closing atomic.Bool
}

func newFatality() *fatality { return &fatality{done: make(chan struct{})} }

func (f *fatality) fail(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.done)
	})
}

// Err is what happened; nil while nothing did.
func (f *fatality) Err() error {
	select {
	case <-f.done:
		return f.err
	default:
		return nil
	}
}

// OnWrite runs after a message of level panic or fatal, in place of os.Exit. It
// ends only the goroutine, which may be any of etcd's: a panic there could be
// caught by nobody.
func (f *fatality) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	f.fail(errors.New(entryText(e.Entry, fields)))
	runtime.Goexit()
}

func entryText(e zapcore.Entry, fields []zapcore.Field) string {
	m := fieldMap(fields)
	parts := make([]string, 0, len(m))
	for k, v := range m {
		parts = append(parts, fmt.Sprintf("%s=%v", k, v))
	}
	sort.Strings(parts)
	return strings.TrimSpace(e.Message + " " + strings.Join(parts, " "))
}

func fieldMap(fields []zapcore.Field) map[string]any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	return enc.Fields
}

// newZap returns a logger for etcd that writes to log, one level lower for
// what etcd calls info: it speaks of every start at length.
func newZap(log *slog.Logger, f *fatality) *zap.Logger {
	return zap.New(slogCore{handler: log.With("component", "store").Handler(), closing: &f.closing},
		zap.WithFatalHook(f), zap.WithPanicHook(f))
}

type slogCore struct {
	handler slog.Handler
	closing *atomic.Bool
}

// expected says whether etcd always says so of a store that is the only member
// and is reached through a socket.
func expected(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed",
		// The storage version is unknown until the first commit; etcd asks again.
		"Failed to detect schema version",
		"failed to update storage version":
		return true
	}
	// See elect.
	return strings.Contains(message, "cannot campaign at term")
}

func slogLevel(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

func (c slogCore) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel && c.handler.Enabled(context.Background(), slogLevel(l))
}

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{handler: c.handler.WithAttrs(attrs(fields)), closing: c.closing}
}

func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slogLevel(e.Level)
	// While it stops, etcd reports each of its own listeners as failed.
	if expected(e.Message) || c.closing.Load() && e.Level <= zapcore.ErrorLevel {
		level = slog.LevelDebug
	}
	if !c.handler.Enabled(context.Background(), level) {
		return nil
	}
	r := slog.NewRecord(e.Time, level, e.Message, 0)
	r.AddAttrs(attrs(fields)...)
	return c.handler.Handle(context.Background(), r)
}

func (c slogCore) Sync() error { return nil }

// attrs turns etcd's kebab-case keys into the snake_case of all other logs.
func attrs(fields []zapcore.Field) []slog.Attr {
	m := fieldMap(fields)
	out := make([]slog.Attr, 0, len(m))
	for k, v := range m {
		out = append(out, slog.Any(strings.ReplaceAll(k, "-", "_"), v))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}
