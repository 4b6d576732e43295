package lab_test

import (
	"strings"
	"testing"
	"time"

	"cke/test/lab"
)

func stall(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	heal := l.Break(t, lab.Stall(m))
	if _, err := try(t, time.Second, m, "true"); err == nil {
		t.Error("a command ran on a stalled machine")
	}
	wantPing(t, true, [2]lab.Node{l.Box(), m}) // its kernel lives
	heal()
	sh(t, m, "true")
}

func stallProcess(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	sh(t, m, "systemd-run --quiet --collect --unit=victim -p Type=exec sleep 4711")
	state := func() string { return sh(t, m, "ps -o s= -C sleep") }
	heal := l.Break(t, lab.StallProcess(m, "^[^ ]*sleep 4711"))
	eventually(t, "the process is stopped", func() bool { return state() == "T" })
	heal()
	eventually(t, "the process goes on", func() bool { return state() == "S" })
	gone := l.Break(t, lab.StallProcess(m, "^[^ ]*sleep 4711"))
	sh(t, m, "systemctl kill --signal=KILL victim; systemctl stop victim || true")
	gone() // there is nothing to go on, and that is well
}

func kill(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	sh(t, m, "systemd-run --quiet --unit=victim -p Type=exec -p Restart=always -p RestartSec=50ms sleep 4711")
	l.Break(t, lab.Kill(m, "^[^ ]*sleep 4711"))
	eventually(t, "systemd starts it again", func() bool { return sh(t, m, "systemctl show -P NRestarts victim") == "1" })
	sh(t, m, "systemctl stop victim")
}

func slowCPU(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	// How long counting takes, and how much of a CPU it takes.
	count := func() (elapsed, used time.Duration) {
		began := time.Now()
		ticks := sh(t, m, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; cut -d' ' -f14 /proc/$$/stat")
		return time.Since(began), time.Duration(number(t, ticks)) * 10 * time.Millisecond
	}
	heal := l.Break(t, lab.SlowCPU(m, 10))
	slow, used := count()
	t.Logf("with a tenth of a CPU, %s of it take %s", used, slow)
	if slow < 4*used {
		t.Errorf("%s of a CPU take %s; a tenth of one is allowed", used, slow)
	}
	heal()
	eventually(t, "counting is fast again", func() bool { fast, _ := count(); return fast < slow/2 })
}

func powerOff(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	sh(t, m, "echo a >/var/tmp/written; logger mark-before-off")
	heal := l.Break(t, lab.PowerOff(m))
	if m.IsOn() {
		t.Error("the machine is on")
	}
	wantPing(t, false, [2]lab.Node{l.Box(), m}) // nobody's kernel answers for it
	heal()
	if got := sh(t, m, "cat /var/tmp/written"); got != "a" {
		t.Errorf("after a clean shutdown the file holds %q", got)
	}
	// It may also do so by itself.
	if _, err := m.Exec(t.Context(), "systemctl", "poweroff"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is off", func() bool { return !m.IsOn() })
	if err := m.On(); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, m, "journalctl --boot=-2 --output=cat --grep=mark-before-off"); !strings.Contains(got, "mark-before-off") {
		t.Errorf("the journal before says %q", got)
	}
}

func reboot(t *testing.T, l *lab.Lab) {
	m := l.Machine(1)
	boot := func() string { return sh(t, m, "journalctl --list-boots --quiet | wc -l") }
	before := number(t, boot())
	sh(t, m, "logger mark-before-reboot; touch /run/before")
	l.Break(t, lab.Reboot(m))
	if after := number(t, boot()); after != before+1 {
		t.Errorf("the journal knows %d boots, %d before the reboot", after, before)
	}
	sh(t, m, "test ! -e /run/before")
	if got := sh(t, m, "journalctl --boot=-1 --output=cat --grep=mark-before-reboot"); !strings.Contains(got, "mark") {
		t.Errorf("the journal of the boot before says %q", got)
	}
	if _, err := ssh(t, m, lab.Ops, "true"); err != nil {
		t.Error(err)
	}
}
