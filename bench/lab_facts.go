package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/host/remote"
	"cke/test/lab"
)

// What a machine's answer may cost, beside an exec that does nothing.
const (
	factsTarget = 3.0
	factsPairs  = 100
)

// withCluster has a new cke found a cluster on clean machines, and ends it
// afterwards.
func withCluster(ctx context.Context, o options, l *lab.Lab, etcd, config string, do func(*daemon) error) (err error) {
	if err := cleaned(ctx, l, all); err != nil {
		return err
	}
	s, err := inLab(ctx, l, etcd)
	if err != nil {
		return err
	}
	s.config += config
	d, err := startDaemon(ctx, o, fmt.Sprintf("cke-%d-machines", len(s.addresses)), s)
	if err != nil {
		return err
	}
	defer func() { err = d.over(err) }()
	if _, err := d.api.PutSpec(ctx, "cluster.yml", s.spec); err != nil {
		return fmt.Errorf("set cluster: %w", err)
	}
	ready, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := d.until(ready, func(s api.Status) bool { return s.Settled }); err != nil {
		return fmt.Errorf("wait for a settled cluster: %w", err)
	}
	return do(d)
}

// factsInLab compares one question about everything a machine with a member
// knows, on a kept connection, with `true` on a kept connection of its own.
func factsInLab(ctx context.Context, o options, l *lab.Lab) error {
	return withCluster(ctx, o, l, "", "", func(d *daemon) error {
		m := l.Machine(1)
		hosts, h, err := reached(ctx, o, d, l, m)
		if err != nil {
			return err
		}
		empty, err := dialed(ctx, l, m)
		if err != nil {
			return errors.Join(err, hosts.Close())
		}
		facts := func() error {
			_, err := h.Facts(ctx, "bench", m.Addr())
			return err
		}
		exec := func() error {
			s, err := empty.NewSession()
			if err != nil {
				return err
			}
			return s.Run("true")
		}
		took, err := inTurn(factsPairs, facts, exec)
		if err == nil {
			ratio := float64(took[0]) / float64(took[1])
			fmt.Printf("median of %d: facts %.2f ms, ssh exec of true %.2f ms, ratio %.2f (target at most %.0f)\n",
				factsPairs, ms(took[0]), ms(took[1]), ratio, factsTarget)
		}
		return errors.Join(err, empty.Close(), hosts.Close())
	})
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// inTurn returns the medians of what several things take, done alternately; the
// first round does not count.
func inTurn(times int, do ...func() error) ([]time.Duration, error) {
	all := make([][]time.Duration, len(do))
	for n := range times + 1 {
		for i := range do {
			which := (i + n) % len(do)
			began := time.Now()
			if err := do[which](); err != nil {
				return nil, err
			}
			if n > 0 {
				all[which] = append(all[which], time.Since(began))
			}
		}
	}
	var medians []time.Duration
	for _, a := range all {
		medians = append(medians, median(a))
	}
	return medians, nil
}

// reached is a machine as cke reaches it, over a connection of our own.
func reached(ctx context.Context, o options, d *daemon, l *lab.Lab, m *lab.Machine) (*remote.Hosts, host.Host, error) {
	id, err := d.api.Leader(ctx)
	if err != nil {
		return nil, nil, err
	}
	key, err := m.HostKeyFingerprint(ctx)
	if err != nil {
		return nil, nil, err
	}
	hosts := remote.New(remote.Options{
		Identity: l.KeyFile(), Helpers: o.bin,
		Caller: func() host.Identity { return host.Identity{StoreID: id.StoreID, Epoch: id.Epoch} },
	})
	h, err := hosts.Host(cluster.Node{Address: m.Addr(), Hostname: cluster.NodeName(m.Name()), User: lab.Root, HostKey: key})
	return hosts, h, err
}

// dialed is a plain SSH connection to a machine.
func dialed(ctx context.Context, l *lab.Lab, m *lab.Machine) (*ssh.Client, error) {
	text, err := m.HostKey(ctx)
	if err != nil {
		return nil, err
	}
	known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("read the host key of %s: %w", m.Name(), err)
	}
	pem, err := os.ReadFile(filepath.Clean(l.KeyFile()))
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return nil, fmt.Errorf("read the lab's key: %w", err)
	}
	return ssh.Dial("tcp", m.Addr().String()+":22", &ssh.ClientConfig{
		User: lab.Root, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.FixedHostKey(known),
	})
}
