package kube

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

// It is not parallel: the logger is the process's.
func TestClientGoLogsThroughSlog(t *testing.T) {
	var out bytes.Buffer
	at := func(level slog.Level) *slog.Logger {
		return slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level}))
	}
	RouteLogs(at(slog.LevelDebug))
	t.Cleanup(klog.ClearLogger)
	klog.Warningf("watch of %s ended", "x")
	klog.V(8).Info("a body")
	klog.FromContext(t.Context()).V(8).Info("Request Body", "body", "a body with a key")
	klog.FromContext(t.Context()).V(2).Info("what is done")
	klog.Flush()
	if got := out.String(); !strings.Contains(got, "watch of x ended") || !strings.Contains(got, "what is done") || strings.Contains(got, "a body") {
		t.Errorf("logged %s", got)
	}
	out.Reset()
	RouteLogs(at(slog.LevelInfo))
	klog.Errorf("watch of %s ended", "x")
	klog.Flush()
	if got := out.String(); got != "" {
		t.Errorf("logged %s", got)
	}
}
