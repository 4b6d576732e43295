package app

import (
	"log/slog"
	"path/filepath"
	"sync"

	"cke/internal/cluster"
	"cke/internal/config"
	"cke/internal/host"
	"cke/internal/host/agent"
)

// localHosts are the nodes on this machine, each in a directory of its own,
// reached through the same handler a remote host's helper serves.
type localHosts struct {
	local    config.Local
	version  string
	identity func() host.Identity
	log      *slog.Logger

	releases *agent.Releases

	mu    sync.Mutex
	hosts map[cluster.NodeName]host.Host
}

func newLocalHosts(local config.Local, version string, id func() host.Identity, log *slog.Logger) *localHosts {
	return &localHosts{
		releases: agent.NewReleases(local.Releases), local: local, version: version, identity: id, log: log, hosts: map[cluster.NodeName]host.Host{},
	}
}

// Host returns the way to a node's machine.
func (l *localHosts) Host(n cluster.Node) (host.Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.hosts[n.Hostname]; ok {
		return h, nil
	}
	a := agent.New(agent.Options{
		Root:     filepath.Join(l.local.Root, string(n.Hostname)),
		Releases: l.local.Releases,
		Known:    l.releases,
		Log:      l.log.With("node", n.Hostname),
		Helper:   l.version,
	})
	h := host.Local(a.Handler(), l.identity)
	l.hosts[n.Hostname] = h
	return h, nil
}
