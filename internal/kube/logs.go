package kube

import (
	"log/slog"

	"k8s.io/klog/v2"
)

// RouteLogs sends what client-go logs to log. client-go logs through a logger of
// the process that may not be changed while it is in use, so a daemon calls this
// once, before it makes a Publisher. Without it warnings go to standard error.
func RouteLogs(log *slog.Logger) {
	klog.SetSlogLogger(log)
}
