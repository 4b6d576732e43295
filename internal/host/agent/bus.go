package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// How long the service manager is waited for: one call, and its socket, which
// is away for an instant while it executes itself anew.
const (
	busTimeout = 20 * time.Second
	busDial    = 5 * time.Second
	busRetry   = 50 * time.Millisecond
)

// bus is the connection to systemd's own socket. No bus daemon is needed, no
// program is run, and only root gets in.
type bus struct {
	mu   sync.Mutex
	conn *dbus.Conn
}

// do runs calls on the connection, on a new one when it breaks under them: what
// they do may be done twice.
func (b *bus) do(ctx context.Context, calls func(context.Context, *dbus.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	for {
		conn, err := b.connect(ctx)
		if err != nil {
			return fmt.Errorf("reach systemd: %w", err)
		}
		err = calls(ctx, conn)
		// That it cannot be written to is known before its reader has seen the end.
		var broken *net.OpError
		if err == nil || ctx.Err() != nil || conn.Connected() && !errors.As(err, &broken) {
			return err
		}
		b.drop(conn)
	}
}

// drop has the next call make another connection.
func (b *bus) drop(conn *dbus.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == conn {
		conn.Close()
		b.conn = nil
	}
}

func (b *bus) connect(ctx context.Context) (*dbus.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		if b.conn.Connected() {
			return b.conn, nil
		}
		b.conn.Close()
		b.conn = nil
	}
	patience := time.NewTimer(busDial)
	defer patience.Stop()
	tick := time.NewTicker(busRetry)
	defer tick.Stop()
	for {
		// The connection outlives the call that needed it first.
		conn, err := dbus.NewSystemdConnectionContext(context.WithoutCancel(ctx))
		if err == nil {
			b.conn = conn
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-patience.C:
			return nil, err
		case <-tick.C:
		}
	}
}

// properties are what systemd says of a unit, by name.
type properties map[string]any

func (p properties) text(name string) string {
	s, _ := p[name].(string)
	return s
}

func (p properties) texts(name string) []string {
	s, _ := p[name].([]string)
	return s
}

func (p properties) number(name string) int64 {
	switch n := p[name].(type) {
	case int32:
		return int64(n)
	case uint32:
		return int64(n)
	case uint64:
		return int64(n)
	}
	return 0
}

// unit is a unit's own state; one that does not exist has LoadState not-found.
func (b *bus) unit(ctx context.Context, name string) (p properties, err error) {
	err = b.do(ctx, func(ctx context.Context, c *dbus.Conn) error {
		p, err = c.GetUnitPropertiesContext(ctx, name)
		return err
	})
	return p, err
}

// service is the state of a unit's process.
func (b *bus) service(ctx context.Context, name string) (p properties, err error) {
	err = b.do(ctx, func(ctx context.Context, c *dbus.Conn) error {
		p, err = c.GetUnitTypePropertiesContext(ctx, name, "Service")
		return err
	})
	return p, err
}

// mainPID is zero when a unit has no process.
func (b *bus) mainPID(ctx context.Context, name string) (pid int, err error) {
	err = b.do(ctx, func(ctx context.Context, c *dbus.Conn) error {
		p, err := c.GetServicePropertyContext(ctx, name, "MainPID")
		if err == nil {
			n, _ := p.Value.Value().(uint32)
			pid = int(n)
		}
		return err
	})
	return pid, err
}

// start queues a start and does not wait for it; the channel gets its result.
func (b *bus) start(ctx context.Context, name string) (<-chan string, error) {
	return b.job(ctx, name, (*dbus.Conn).StartUnitContext)
}

// stop queues a stop. It ends what was queued before, and automatic restarts.
func (b *bus) stop(ctx context.Context, name string) (<-chan string, error) {
	return b.job(ctx, name, (*dbus.Conn).StopUnitContext)
}

// restart queues a stop and a start.
func (b *bus) restart(ctx context.Context, name string) (<-chan string, error) {
	return b.job(ctx, name, (*dbus.Conn).RestartUnitContext)
}

func (b *bus) job(ctx context.Context, name string, queue func(*dbus.Conn, context.Context, string, string, chan<- string) (int, error)) (<-chan string, error) {
	var result chan string
	err := b.do(ctx, func(ctx context.Context, c *dbus.Conn) error {
		result = make(chan string, 1)
		_, err := queue(c, ctx, name, "replace", result)
		return err
	})
	return result, err
}

// reboot queues what ends everything in good order.
func (b *bus) reboot(ctx context.Context) error {
	return b.do(ctx, func(ctx context.Context, c *dbus.Conn) error {
		_, err := c.StartUnitContext(ctx, "reboot.target", "replace-irreversibly", nil)
		return err
	})
}

func (b *bus) kill(ctx context.Context, name string, signal int32) error {
	return b.do(ctx, func(ctx context.Context, c *dbus.Conn) error {
		return c.KillUnitWithTarget(ctx, name, dbus.All, signal)
	})
}

// reload makes systemd read all unit files again.
func (b *bus) reload(ctx context.Context) error {
	return b.do(ctx, func(ctx context.Context, c *dbus.Conn) error { return c.ReloadContext(ctx) })
}

// forget drops what is remembered of a unit's failure. A unit that is not
// loaded has none.
func (b *bus) forget(ctx context.Context, name string) error {
	return b.do(ctx, func(ctx context.Context, c *dbus.Conn) error {
		loaded, err := c.ListUnitsByNamesContext(ctx, []string{name})
		if err != nil || len(loaded) == 0 || loaded[0].ActiveState != "failed" {
			return err
		}
		return c.ResetFailedUnitContext(ctx, name)
	})
}

// active are the units of a pattern that run or are about to.
func (b *bus) active(ctx context.Context, pattern string) (names []string, err error) {
	err = b.do(ctx, func(ctx context.Context, c *dbus.Conn) error {
		names = nil
		found, err := c.ListUnitsByPatternsContext(ctx,
			[]string{"active", "activating", "reloading", "deactivating"}, []string{pattern})
		for _, u := range found {
			names = append(names, u.Name)
		}
		return err
	})
	return names, err
}

// jobPending says that something is queued for a unit: the pair of its number,
// zero for none, and its path.
func (p properties) jobPending() bool {
	job, _ := p["Job"].([]any)
	if len(job) == 0 {
		return false
	}
	id, _ := job[0].(uint32)
	return id != 0
}

// mustReload: systemd tells a newer file by its time, which is wrong where the
// clock was set back in between: it would go on with a unit that founds.
func mustReload(replaced bool, p properties) bool {
	stale, _ := p["NeedDaemonReload"].(bool)
	return replaced || stale || p.text("LoadState") != "loaded"
}
