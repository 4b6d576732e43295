package lab_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/test/lab"
)

func cut(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	heal := l.Break(t, lab.Cut(m))
	wantPing(t, false, [2]lab.Node{l.Box(), m}, [2]lab.Node{m, l.Machine(2)})
	wantPing(t, true, [2]lab.Node{l.Box(), l.Machine(2)})
	heal()
	wantPing(t, true, [2]lab.Node{l.Box(), m}, [2]lab.Node{m, l.Machine(2)})
}

func partition(t *testing.T, l *lab.Lab) {
	h1, h2, h3, box := l.Machine(1), l.Machine(2), l.Machine(3), l.Box()
	heal := l.Break(t, lab.Partition([]lab.Node{h1}, []lab.Node{h2, h3}))
	wantPing(t, false, [2]lab.Node{h1, h2}, [2]lab.Node{h3, h1})
	wantPing(t, true, [2]lab.Node{box, h1}, [2]lab.Node{box, h2}, [2]lab.Node{h2, h3})
	// Two at once, healed in the order in which they began.
	second := l.Break(t, lab.Partition([]lab.Node{h1, h2}, l.Rest(h1, h2)))
	wantPing(t, false, [2]lab.Node{box, h1}, [2]lab.Node{box, h2}, [2]lab.Node{h2, h3})
	heal()
	wantPing(t, true, [2]lab.Node{h1, h2})
	wantPing(t, false, [2]lab.Node{h1, h3})
	second()
	wantPing(t, true, [2]lab.Node{h1, h3}, [2]lab.Node{box, h2})
}

func dropOneWay(t *testing.T, l *lab.Lab) {
	h1, h2 := l.Machine(1), l.Machine(2)
	const got = "awk '/^Icmp:/ && $2 ~ /^[0-9]+$/ {print $2}' /proc/net/snmp"
	heal := l.Break(t, lab.DropOneWay(h1, h2))
	before := sh(t, h1, got)
	wantPing(t, false, [2]lab.Node{h2, h1}) // the question arrives, the answer does not
	if after := sh(t, h1, got); after == before {
		t.Error("h1 got nothing from h2; the way from h2 to h1 is to be open")
	}
	heal()
	wantPing(t, true, [2]lab.Node{h2, h1})
}

func loss(t *testing.T, l *lab.Lab) {
	h1 := l.Machine(1)
	// Half of the questions, and half of the answers.
	arrived := func() int {
		out := sh(t, h1, "ping -n -q -c200 -i0.002 -W1 "+l.Box().Addr().String()+" || true")
		_, after, _ := strings.Cut(out, "transmitted, ")
		return number(t, strings.Fields(after)[0])
	}
	heal := l.Break(t, lab.Loss(h1, 50))
	if n := arrived(); n < 20 || n > 80 {
		t.Errorf("of 200 pings %d were answered, want about 50", n)
	}
	heal()
	eventually(t, "nearly all of 200 pings are answered", func() bool { return arrived() >= 198 })
}

func delay(t *testing.T, l *lab.Lab) {
	h1 := l.Machine(1)
	heal := l.Break(t, lab.Delay(h1, 40*time.Millisecond, 20*time.Millisecond))
	eventually(t, "a round trip takes 40 to 60 ms on an idle box", func() bool {
		got := roundTrip(t, h1)
		t.Logf("a round trip takes %s", got)
		if got < 40*time.Millisecond {
			t.Errorf("a round trip takes %s, want 40 ms at least", got)
		}
		return got < 500*time.Millisecond
	})
	eventually(t, "a round trip to h2 is fast", func() bool { return roundTrip(t, l.Machine(2)) < 20*time.Millisecond })
	heal()
	eventually(t, "a round trip is fast again", func() bool { return roundTrip(t, h1) < 20*time.Millisecond })
}

func slowSSH(t *testing.T, l *lab.Lab) {
	h1 := l.Machine(1)
	login := func() time.Duration {
		began := time.Now()
		if _, err := ssh(t, h1, lab.Root, "true"); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	before := login()
	heal := l.Break(t, lab.SlowSSH(h1, 100*time.Millisecond))
	slow := login()
	t.Logf("a login and a command take %s, without the fault %s", slow, before)
	const least = 800 * time.Millisecond // eight packets of the client's wait for an answer
	if slow < least {
		t.Errorf("a login takes %s, want at least %s", slow, least)
	}
	eventually(t, "pings are fast", func() bool { return roundTrip(t, h1) < 20*time.Millisecond })
	heal()
	eventually(t, "logins are fast again", func() bool { return login() < least })
}

func sshRefused(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	listen(t, m)
	open, err := net.Dial("tcp", m.Addr().String()+":22")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	heal := l.Break(t, lab.SSHRefused(m))
	fmt.Fprint(open, "SSH-2.0-lab\r\n")
	open.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(open); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an open connection ends with %v, want a reset", err)
	}
	if got := dial(m, 22); !strings.Contains(got, "connection refused") {
		t.Errorf("ssh: %q, want it refused", got)
	}
	if got := dial(m, 2379); got != "" {
		t.Errorf("etcd's port: %s", got)
	}
	if got := dial(l.Machine(2), 22); got != "" {
		t.Errorf("ssh to h2: %s", got)
	}
	heal()
	if got := dial(m, 22); got != "" {
		t.Errorf("healed, ssh: %s", got)
	}
}

func etcdBlocked(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	listen(t, m)
	heal := l.Break(t, lab.EtcdBlocked(m))
	if got := dialFor(m, 2379, time.Second); !strings.Contains(got, "timeout") {
		t.Errorf("etcd's port: %q, want a timeout", got)
	}
	if got := dial(m, 22); got != "" {
		t.Errorf("ssh: %s", got)
	}
	heal()
	if got := dial(m, 2379); got != "" {
		t.Errorf("healed, etcd's port: %s", got)
	}
}

func clientPortClosed(t *testing.T, l *lab.Lab) {
	m, h2 := l.Machine(1), l.Machine(2)
	listen(t, m)
	heal := l.Break(t, lab.ClientPortClosed(m, l.Box()))
	if got := dialFor(m, 2379, time.Second); !strings.Contains(got, "timeout") {
		t.Errorf("etcd's client port: %q, want a timeout", got)
	}
	if got := dial(m, 22); got != "" {
		t.Errorf("ssh: %s", got)
	}
	sh(t, h2, "bash -c '</dev/tcp/"+m.Addr().String()+"/2379'")
	heal()
	if got := dial(m, 2379); got != "" {
		t.Errorf("healed, etcd's client port: %s", got)
	}
}

// listen has a machine answer on etcd's client port.
func listen(t *testing.T, m *lab.Machine) {
	t.Helper()
	sh(t, m, `printf '[Socket]\nListenStream=2379\nAccept=yes\n' >/run/systemd/system/echo.socket
		printf '[Service]\nExecStart=/bin/cat\nStandardInput=socket\n' >/run/systemd/system/echo@.service
		systemctl daemon-reload; systemctl start echo.socket`)
}
