package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"cke/internal/cluster"
	"cke/internal/config"
	"cke/internal/host"
	"cke/internal/host/remote"
)

// machines are all nodes' machines: those on this machine, and those a user is
// named for, which are reached over SSH.
type machines struct {
	*localHosts
	local  *localMachine // nil with a store that is this machine's alone
	remote *remote.Hosts
}

func newMachines(a *App) (*machines, error) {
	o, err := sshOptions(a.o.Config.SSH, os.Getenv("SSH_AUTH_SOCK"))
	if err != nil {
		return nil, err
	}
	o.Version, o.Caller, o.Log = a.o.Version, a.caller, a.log
	o.Trusted = func(ctx context.Context, address string) (string, error) {
		k, err := a.store.HostKey(ctx, address)
		if k == nil {
			return "", err
		}
		return k.Key, err
	}
	m := &machines{localHosts: newLocalHosts(a.o.Config.Local, a.o.Version, a.caller, a.log), remote: remote.New(o)}
	if !a.store.Shared() {
		return m, nil
	}
	self, err := machineOf(a.self.Hostname, a.o.Config.Local.Root)
	m.local = &localMachine{self: self, ask: a.store.LocalMachine}
	return m, err
}

// sshOptions fills in what the configuration leaves to the environment.
func sshOptions(c config.SSH, agent string) (remote.Options, error) {
	o := remote.Options{Identity: c.Identity, Agent: c.Agent, KnownHosts: c.KnownHosts, Helpers: c.Helpers}
	if o.Agent == "" {
		o.Agent = agent
	}
	for _, f := range []*string{&o.Identity, &o.Agent} {
		if *f == config.None {
			*f = ""
		}
	}
	if o.Helpers == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find the directory of this program: %w", err)
		}
		o.Helpers = filepath.Dir(self)
	}
	return o, nil
}

// forget ends all connections, and forgets what was learnt of this machine's nodes.
func (m *machines) forget() error {
	m.localHosts.mu.Lock()
	m.localHosts.hosts = map[cluster.NodeName]host.Host{}
	m.localHosts.mu.Unlock()
	return m.remote.Keep(nil)
}

// Host returns the way to a node's machine.
func (m *machines) Host(n cluster.Node) (host.Host, error) {
	if n.User != "" {
		return m.remote.Host(n)
	}
	if m.local != nil {
		if err := m.local.here(); err != nil {
			return nil, err
		}
	}
	return m.localHosts.Host(n)
}
