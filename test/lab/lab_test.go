package lab_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cke/test/lab"
)

// Everything that can be done to a lab is done to one of three machines: booting
// takes a second, the waiting is in the faults.
func TestEveryFaultBitesAndHeals(t *testing.T) {
	l := lab.Start(t, 3, lab.DataDisk("64M"), lab.Disk("256M"))
	for _, c := range []struct {
		name string
		test func(*testing.T, *lab.Lab)
	}{
		{"machines are real", machinesAreReal},
		{"users", users},
		{"forced command", forcedCommand},
		{"host key", hostKey},
		{"cut", cut},
		{"partition", partition},
		{"drop one way", dropOneWay},
		{"loss", loss},
		{"delay", delay},
		{"slow ssh", slowSSH},
		{"ssh refused", sshRefused},
		{"etcd blocked", etcdBlocked},
		{"client port closed", clientPortClosed},
		{"disk full", diskFull},
		{"disk hang", diskHang},
		{"slow disk", slowDisk},
		{"stall", stall},
		{"stall a process", stallProcess},
		{"kill", kill},
		{"slow cpu", slowCPU},
		{"skewed clock", skewedClock},
		{"power off", powerOff},
		{"reboot", reboot},
		{"power cut", powerCut},
		{"disk hangs at power off", diskHangsAtPowerOff},
		{"disk eio", diskEIO},
		{"data disk", dataDisk},
	} {
		if !t.Run(c.name, func(t *testing.T) { c.test(t, l) }) {
			t.Fatal("the machines may not be what the next test expects")
		}
	}
}

// patience bounds what comes at once, unless it never does: the box may be busy.
const patience = time.Minute

// sh runs a line of shell on a machine.
func sh(t *testing.T, m *lab.Machine, line string) string {
	t.Helper()
	out, err := try(t, patience, m, line)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(t *testing.T, limit time.Duration, m *lab.Machine, line string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := m.Exec(ctx, "sh", "-c", line)
	return strings.TrimSpace(out), err
}

func ssh(t *testing.T, m *lab.Machine, user, line string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := m.SSH(ctx, user, line)
	return strings.TrimSpace(out), err
}

// pings says whether one node reaches another within half a second.
func pings(from, to lab.Node) bool {
	ping := []string{"ping", "-n", "-q", "-c1", "-W0.5", to.Addr().String()}
	if m, ok := from.(*lab.Machine); ok {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := m.Exec(ctx, ping...)
		return err == nil
	}
	return exec.Command(ping[0], ping[1:]...).Run() == nil
}

func wantPing(t *testing.T, want bool, pairs ...[2]lab.Node) {
	t.Helper()
	for _, p := range pairs {
		// A lost packet is not a fault when the box is busy; one that arrives
		// through a fault is.
		ok := pings(p[0], p[1])
		for again := 4; want && !ok && again > 0; again-- {
			ok = pings(p[0], p[1])
		}
		if ok != want {
			t.Errorf("%s reaches %s: %v", p[0].Name(), p[1].Name(), ok)
		}
	}
}

// roundTrip is how long the box waits for the answer to a ping.
func roundTrip(t *testing.T, m *lab.Machine) time.Duration {
	t.Helper()
	out, err := exec.Command("ping", "-n", "-c2", "-i0.2", "-W3", m.Addr().String()).Output()
	if err != nil {
		t.Fatalf("ping %s: %v\n%s", m, err, out)
	}
	_, after, _ := strings.Cut(string(out), "min/avg/max/mdev = ")
	least, _, _ := strings.Cut(after, "/")
	d, err := time.ParseDuration(least + "ms")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// dial says how a connection to a port goes: "" for well.
func dial(m *lab.Machine, port int) string { return dialFor(m, port, patience) }

func dialFor(m *lab.Machine, port int, limit time.Duration) string {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(m.Addr().String(), fmt.Sprint(port)), limit)
	if err != nil {
		return err.Error()
	}
	conn.Close()
	return ""
}

// eventually polls a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, patience, what, ok)
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // between two looks
	}
}

func machinesAreReal(t *testing.T, l *lab.Lab) {
	for i, m := range l.Machines() {
		if want := fmt.Sprintf("h%d 10.77.0.%d", i+1, 11+i); m.Name()+" "+m.Addr().String() != want {
			t.Errorf("machine %d is %s at %s, want %s", i+1, m.Name(), m.Addr(), want)
		}
		got, err := ssh(t, m, lab.Root, "hostname; cat /proc/1/comm; systemctl is-system-running --wait")
		if err != nil || got != m.Name()+"\nsystemd\nrunning" {
			t.Errorf("%s is %q, %v; want systemd, with nothing failed", m, got, err)
		}
		wantPing(t, true, [2]lab.Node{m, l.Box()}, [2]lab.Node{m, l.Machine(1)}, [2]lab.Node{l.Box(), m})
	}
	// Nobody on a machine may set the box's clock. It is not tried: it is the
	// only one there is.
	for who, read := range map[string]func(string) (string, error){
		"Exec": func(line string) (string, error) { return try(t, patience, l.Machine(1), line) },
		"ssh":  func(line string) (string, error) { return ssh(t, l.Machine(1), lab.Root, line) },
		"PID 1": func(line string) (string, error) {
			return try(t, patience, l.Machine(1), strings.Replace(line, "self", "1", 1))
		},
	} {
		out, err := read("grep CapBnd: /proc/self/status")
		var set uint64
		if _, scan := fmt.Sscanf(out, "CapBnd: %x", &set); err != nil || scan != nil {
			t.Fatalf("%s: %q, %v, %v", who, out, err, scan)
		}
		if sysTime := uint64(1) << 25; set&sysTime != 0 {
			t.Errorf("%s has CAP_SYS_TIME: %x", who, set)
		}
	}
	if out := sh(t, l.Machine(1), "ip route show default"); out != "" {
		t.Errorf("a machine has a way out: %s", out)
	}
}

func users(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	for _, c := range []struct {
		user, line, want string
		ok               bool
	}{
		{lab.Root, "id -un", "root", true},
		{lab.Ops, "id -un; sudo -n id -un", "ops\nroot", true},
		{lab.CKE, "id -un", "cke", true},
		{lab.CKE, "sudo -n id -un", "", false},
		{lab.CKE, "sudo -n /usr/local/bin/cke-host serve", "served", true},
		{lab.CKE, "sudo -n /usr/local/bin/cke-host run", "", false},
	} {
		if err := m.WriteFile(t.Context(), "/usr/local/bin/cke-host", []byte("#!/bin/sh\necho $1d\n"), "0755"); err != nil {
			t.Fatal(err)
		}
		got, err := ssh(t, m, c.user, c.line)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %s: %q, %v", c.user, c.line, got, err)
		}
	}
	sh(t, m, "rm /usr/local/bin/cke-host")
}

func forcedCommand(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	if err := m.ForceCommand(t.Context(), lab.CKE, `echo "forced"`); err != nil {
		t.Fatal(err)
	}
	if got, err := ssh(t, m, lab.CKE, "id"); err != nil || got != "forced" {
		t.Errorf("with a forced command, id says %q, %v", got, err)
	}
	if err := m.LimitKey(t.Context(), lab.CKE, ""); err != nil {
		t.Fatal(err)
	}
	if got, err := ssh(t, m, lab.CKE, "id -un"); err != nil || got != "cke" {
		t.Errorf("without it, id -un says %q, %v", got, err)
	}
}

func hostKey(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	served := func() string {
		out, err := exec.Command("ssh-keyscan", "-t", "ed25519", m.Addr().String()).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(strings.TrimSpace(string(out)), m.Addr().String()+" ")
	}
	key, err := m.HostKey(t.Context())
	if err != nil || key != served() {
		t.Fatalf("the host key is %q, %v; sshd has %q", key, err, served())
	}
	print, err := m.HostKeyFingerprint(t.Context())
	if want := strings.Fields(sh(t, m, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"))[1]; err != nil || print != want {
		t.Errorf("the fingerprint is %q, %v; ssh-keygen says %q", print, err, want)
	}
	if other, err := l.Machine(2).HostKey(t.Context()); err != nil || other == key {
		t.Errorf("h2 has the host key of h1 (%v)", err)
	}
	if err := m.NewHostKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "sshd has another host key", func() bool { return served() != key })
}

func skewedClock(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	path := t.TempDir() + "/clock"
	lab.BuildSkewable(t, path, "./testdata/clock")
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.WriteFile(t.Context(), "/usr/local/bin/clock", program, "0755"); err != nil {
		t.Fatal(err)
	}
	off := func(line string) time.Duration {
		out, err := ssh(t, m, lab.Ops, line)
		if err != nil {
			t.Fatal(err)
		}
		var seconds int64
		if _, err := fmt.Sscan(out, &seconds); err != nil {
			t.Fatalf("%s says %q: %v", line, out, err)
		}
		return time.Since(time.Unix(seconds, 0)).Round(10 * time.Second)
	}
	lines := []string{"clock", "sudo -n clock", "sudo -n systemd-run --quiet --pipe --wait clock"}
	heal := l.Break(t, lab.SkewClock(m, -26*time.Hour))
	for _, line := range lines {
		if got := off(line); got != 26*time.Hour {
			t.Errorf("%s is %s behind, want 26h", line, got)
		}
	}
	if got := off("date +%s"); got != 0 {
		t.Errorf("date(1) is %s off; the real clock was touched", got)
	}
	heal()
	for _, line := range lines {
		if got := off(line); got != 0 {
			t.Errorf("healed, %s is %s behind", line, got)
		}
	}
}
