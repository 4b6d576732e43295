package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"cke/internal/cluster"
	"cke/internal/host"
)

// installedAt is where an administrator puts the helper.
const installedAt = "/usr/local/bin/cke-host"

// sudoersFile and sudoersLine let a user run exactly one program as root.
const sudoersFile = "/etc/sudoers.d/cke"

func sudoersLine(user string) string {
	return user + " ALL=(root) NOPASSWD: " + installedAt + " serve"
}

// explain says why no helper greets.
func (l *link) explain(r *run, err error) error {
	var none *host.NoGreetingError
	if !errors.As(err, &none) || none.Other == nil && !none.Ended {
		return fmt.Errorf("connect to %s: %w", l.to, err)
	}
	if none.Other != nil {
		return l.otherBuild(*none.Other)
	}
	said := r.said.text()
	if said == "" {
		said = string(none.Said)
	}
	t := &host.TroubleError{Trouble: cluster.HelperMissing}
	t.Message = fmt.Sprintf("%s logs in to %s but no helper runs there: it ends without a word", l.to.user, l.to.address)
	if said != "" {
		t.Message = fmt.Sprintf("%s logs in to %s but no helper runs there: it says %q", l.to.user, l.to.address, said)
	}
	t.Hint = "let root run sh, or give the key a forced command in authorized_keys (the user's guide has both)"
	if l.to.user != "root" {
		t.Hint = fmt.Sprintf("%s\nand let %s run it:\n  echo '%s' | sudo tee %s", l.install(runtime.GOARCH), l.to.user, sudoersLine(l.to.user), sudoersFile)
	}
	return t
}

// install is how an administrator puts the helper of cke's own build on a
// machine.
func (l *link) install(arch string) string {
	other := ""
	for _, a := range arches() {
		if l.to.user != "root" && a.name != arch {
			other = fmt.Sprintf(" (for %s: %s)", a.name, l.helpers.path(a.name))
		}
	}
	return fmt.Sprintf("install it as an administrator of the host%s:\n%s", other, l.copyHelper(arch))
}

// sameBuild refuses a helper that is another program than the one cke would
// upload: what they say to each other may have changed. Where cke has none for
// the machine's architecture, the version has to do.
func (l *link) sameBuild(r *run) error {
	g := r.greeting
	sum, err := l.helpers.sum(g.Arch)
	same := g.Sum == sum
	if errors.Is(err, fs.ErrNotExist) {
		same, err = g.Version == l.o.Version, nil
	}
	if err == nil && !same {
		err = l.otherBuild(g)
	}
	if err != nil {
		return errors.Join(err, r.session.Close())
	}
	return nil
}

func (l *link) otherBuild(g host.Greeting) error {
	t := &host.TroubleError{
		Trouble: cluster.HelperVersion,
		Message: fmt.Sprintf("the helper on %s is of version %s; this cke has another one, of version %s", l.to.address, g.Version, l.o.Version),
		Hint:    l.installExactly(g.Arch),
	}
	if g.Version == l.o.Version {
		t.Message = fmt.Sprintf("the helper on %s says it is of this cke's version, %s, but is another build of it", l.to.address, g.Version)
	}
	return t
}

func (l *link) installExactly(arch string) string {
	return "install this one as an administrator of the host, there or where the forced command in authorized_keys has it:\n" + l.copyHelper(arch)
}

// copyHelper are the commands that install the helper, a line each.
func (l *link) copyHelper(arch string) string {
	return fmt.Sprintf("  scp%s %s %s:/tmp/cke-host\nand there:\n  sudo install -m 0755 /tmp/cke-host %s",
		l.to.portFlag("-P"), l.helpers.path(arch), l.to.scpTarget(), installedAt)
}
