package gateway

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long a member's machine may leave the kernel without an answer, in
// milliseconds. It bounds what was sent and is not acknowledged, a window that
// stays shut, and, together with upstreamKeepAlive, silence: probes after 3, 4
// and 5 s must all be lost. etcd reads its connections at any load, and elects
// another leader within 2 s; a member that is away for 6 s is better left. A
// living one, be it ever so quiet, acknowledges each probe.
const upstreamTimeout = 6000

func upstreamKeepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3}
}

// limitSilence sets upstreamTimeout.
func limitSilence(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, upstreamTimeout))
	})
	return errors.Join(err, failed)
}

// queued is how many bytes the kernel has of a connection: come and not read,
// or sent and not acknowledged. One that cannot be asked is closed and has none.
func queued(conn *net.TCPConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		for _, question := range []uint{unix.SIOCINQ, unix.SIOCOUTQ} {
			if bytes, err := unix.IoctlGetInt(int(fd), question); err == nil {
				n += bytes
			}
		}
	})
	if err != nil {
		return 0
	}
	return n
}

// reserved files are for listeners, the log, the list, probes and questions.
const reserved = 64

// connectionLimit is how many connections the process has files for, two each.
// Go has raised the soft limit to the hard one by now.
func connectionLimit() (int, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 0, fmt.Errorf("ask for the limit of open files: %w", os.NewSyscallError("getrlimit", err))
	}
	const most = 1 << 20 // beyond any machine's ports
	n := (int(min(files.Cur, 2*most)) - reserved) / 2
	if n < 1 {
		return 0, fmt.Errorf("the limit of %d open files leaves none for connections; LimitNOFILE of the unit raises it", files.Cur)
	}
	return n, nil
}

// notify tells systemd how the service stands; outside of a unit nobody.
func notify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell systemd %s: %w", state, err)
	}
	_, err = conn.Write([]byte(state))
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("tell systemd %s: %w", state, err)
	}
	return nil
}
