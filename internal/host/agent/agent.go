// Package agent is the half of CKE that runs on a managed machine. It derives
// every path and every flag itself from names it has checked, so that whoever
// holds the channel can run etcd members of CKE and nothing else.
//
// It promises, whoever calls and whenever it is killed:
//   - A member that was ever started is never started again without its own
//     data (guard.go): the machine itself refuses, with CKE down as well.
//   - Data is never deleted in the step that retires a member (retire.go).
//   - A caller of another store, or with an older leader epoch, changes
//     nothing (fence.go).
//   - etcd outlives the process that started it, and is found again (process.go,
//     services.go).
package agent

import (
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Options says where an agent works.
type Options struct {
	// Root is the directory that everything lies below; "/" on a machine of its own.
	Root string
	// Releases holds v<version>/etcd; empty means Root/opt/cke/etcd.
	Releases string
	// Known is shared by the agents of one machine that have the same Releases,
	// so that a binary is looked at once; nil for knowledge of its own.
	Known *Releases
	// Log gets what the agent does; nil discards it.
	Log *slog.Logger
	// Helper is the version that Facts reports.
	Helper string
	// Runtime runs the members; empty is ProcessRuntime.
	Runtime Runtime
}

// Agent does on one machine what host.Host asks for. Any number of agents, in
// one process or several, may serve the same root: they lock each other out.
type Agent struct {
	layout   layout
	log      *slog.Logger
	helper   string
	versions *Releases
	runtime  runtime
	gateways *gateways // nil where there can be none
	kind     Runtime
	keys     keyCache
	hearing  hearing
	// answering holds ports for a moment, while other machines try theirs.
	answering answering
	now       func() time.Time
	// free is the room on the file system of a path, in bytes.
	free func(path string) (int64, error)
	// reached is called after each effect that a crash may follow; tests end
	// the process there.
	reached func(point string)
}

// New makes an agent; nothing on disk is touched before the first request.
func New(o Options) *Agent {
	// Abs fails only without a working directory; a request then says what is missing.
	if abs, err := filepath.Abs(o.Root); err == nil {
		o.Root = abs
	}
	if abs, err := filepath.Abs(o.Releases); err == nil && o.Releases != "" {
		o.Releases = abs
	}
	if o.Releases == "" {
		o.Releases = filepath.Join(o.Root, "opt/cke/etcd")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Known == nil {
		o.Known = NewReleases(o.Releases)
		// Below another root a member runs as whoever its helper is.
		o.Known.asNobody = o.Root == "/" && os.Geteuid() == 0
	}
	a := &Agent{
		layout: layout{root: o.Root, releases: o.Releases},
		log:    o.Log, helper: o.Helper, kind: o.Runtime,
		versions:  o.Known,
		now:       time.Now,
		answering: answering{ports: map[netip.AddrPort]bool{}},
		reached:   func(string) {},
		free:      freeBytes,
	}
	reached := func(p string) { a.reached(p) }
	if a.kind == SystemdRuntime {
		s := newServices(a.layout, o.Log, reached)
		a.runtime, a.gateways = s, &gateways{services: s, program: "/proc/self/exe"}
		return a
	}
	a.kind, a.runtime = ProcessRuntime, newProcesses(a.layout, o.Log, reached)
	return a
}

// Handler serves the verbs of package host.
func (a *Agent) Handler() http.Handler { return a.routes() }
