package faults

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cke/internal/cli"
	"cke/test/faults/schedule"
)

// asked is in which operations a command of ckecli's comes up, or why in none.
type asked struct {
	in  []schedule.Operation
	why string
}

const (
	changesNothing = "it changes nothing"
	noKubernetes   = "there is no Kubernetes here; test/kube has it"
	forAPerson     = "it is the way out of what a person has brought about; test/lab/hosts has it"
)

// commands are all of ckecli's.
func commands() map[string]asked {
	in := func(ops ...schedule.Operation) asked { return asked{in: ops} }
	not := func(why string) asked { return asked{why: why} }
	return map[string]asked{
		"cluster set":       in(schedule.Add, schedule.Remove, schedule.Replace, schedule.Rotate, schedule.Settings, schedule.Version),
		"etcd user-add":     in(schedule.Tenant),
		"etcd issue":        in(schedule.Tenant),
		"etcd user-remove":  in(schedule.Tenant),
		"etcd local-backup": in(schedule.Backup),
		"etcd defrag":       in(schedule.Defrag),
		"pause":             in(schedule.Pause),
		"resume":            in(schedule.Pause),
		"node clean":        in(schedule.Clean),
		"node drain":        in(schedule.Drain),
		"node undrain":      in(schedule.Drain),
		"node reboot":       in(schedule.Restart),
		"state backup":      in(schedule.State),

		"node trust":               not(forAPerson),
		"node claim":               not(forAPerson),
		"etcd root-issue":          not("the suite itself does, for what it asks etcd"),
		"kubernetes bundle add":    not(noKubernetes),
		"kubernetes bundle remove": not(noKubernetes),

		"cluster get": not(changesNothing), "cluster list": not(changesNothing), "status": not(changesNothing),
		"plan": not(changesNothing), "history": not(changesNothing), "leader": not(changesNothing),
		"etcd members": not(changesNothing), "etcd user-list": not(changesNothing),
		"node list": not(changesNothing), "node check": not(changesNothing), "node logs": not(changesNothing),
		"kubernetes etcd-config": not(changesNothing), "kubernetes manifests": not(changesNothing), "kubernetes bundle list": not(changesNothing),
		"completion": not(changesNothing), "version": not(changesNothing),
	}
}

// TestEveryCommandIsScheduled: each command of ckecli's comes up in an operation, or
// it is said why it does not; and each operation is of some command.
func TestEveryCommandIsScheduled(t *testing.T) {
	known := commands()
	for _, name := range namesOf(cli.New(cli.Env{Stdout: io.Discard, Stderr: io.Discard})) {
		a, ok := known[name]
		switch {
		case !ok:
			t.Errorf("ckecli %s is in no operation, and it is not said why", name)
		case len(a.in) == 0 == (a.why == ""):
			t.Errorf("ckecli %s: %+v", name, a)
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("ckecli has no %s", name)
	}
	for _, o := range schedule.Operations() {
		if o == schedule.None {
			continue
		}
		found := false
		for _, a := range commands() {
			found = found || slices.Contains(a.in, o)
		}
		if !found {
			t.Errorf("%q is of no command", o)
		}
	}
}

// namesOf are the commands that do something, without ckecli's name.
func namesOf(c *cobra.Command) []string {
	var all []string
	for _, sub := range c.Commands() {
		switch {
		case sub.Hidden:
		case sub.HasSubCommands():
			all = append(all, namesOf(sub)...)
		default:
			_, name, _ := strings.Cut(sub.CommandPath(), " ")
			all = append(all, name)
		}
	}
	return all
}
