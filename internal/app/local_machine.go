package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"cke/internal/host"
	"cke/internal/store"
)

// localMachine keeps a daemon from taking its own machine for the one on which the
// local nodes are: on any other their data would look lost.
type localMachine struct {
	self store.Machine
	ask  func(context.Context, store.Machine) (store.Machine, error)

	mu sync.Mutex
	is *store.Machine // nil before it is known
}

const machineIDFile = "/etc/machine-id"

// machineOf is this machine, with the directory that the local nodes are in.
func machineOf(hostname, root string) (store.Machine, error) {
	id, err := os.ReadFile(machineIDFile)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(bytes.TrimSpace(id)) == 0 {
		return store.Machine{ID: hostname, Hostname: hostname, Root: root}, nil
	}
	if err != nil {
		return store.Machine{}, fmt.Errorf("read which machine this is: %w", err)
	}
	return store.Machine{ID: string(bytes.TrimSpace(id)), Hostname: hostname, Root: root}, nil
}

// askPatience bounds the one question to the store.
const askPatience = 5 * time.Second

// here is an error where the local nodes are elsewhere.
func (l *localMachine) here() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.is == nil {
		ctx, cancel := context.WithTimeout(context.Background(), askPatience)
		defer cancel()
		is, err := l.ask(ctx, l.self)
		if err != nil {
			return err
		}
		l.is = &is
	}
	if l.is.ID == l.self.ID && l.is.Root == l.self.Root {
		return nil
	}
	return &host.TroubleError{
		Message: fmt.Sprintf("the node has no user and so is on the machine %s, below %s; this cke runs on %s, with %s",
			l.is.Hostname, l.is.Root, l.self.Hostname, l.self.Root),
		Hint: "where several cke act, nodes are reached over SSH: give it a user in cluster.yml; or run cke on " + l.is.Hostname + " alone",
	}
}
