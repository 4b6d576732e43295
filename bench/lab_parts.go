package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cke/test/lab"
)

// part is one of the benchmarks on real machines.
type part struct {
	name     string
	machines int // 0: it needs none
	opts     []lab.Option
	run      func(context.Context, options, *lab.Lab) error // nil: booting is all
}

func labParts() []part {
	roomy := []lab.Option{lab.Disk("6G")} // a database of 1 GiB, its log, and what a page holds back
	return []part{
		{"fleet", 0, nil, fleetInLab},
		{"bootstrap", 3, nil, bootstrapInLab},
		{"distribute", 3, nil, distributeInLab},
		{"facts", 3, nil, factsInLab},
		{"boot", 10, nil, nil},
		{"twenty", 20, []lab.Option{lab.Light()}, twentyMachines},
		{"add", bothMachines, roomy, addInLab},
		{"swap", bothMachines, roomy, swapInLab},
		{"silent", bothMachines, roomy, silentInLab},
		{"replace", bothMachines, roomy, replaceInLab},
		{"rolling", bothMachines, roomy, rollingInLab},
		{"pinned", bothMachines, roomy, pinnedInLab},
	}
}

// partNames are those that -only can name.
func partNames() string {
	var names []string
	for _, p := range labParts() {
		names = append(names, p.name)
	}
	return strings.Join(names, ",")
}

// onlyParts are those of a list of names, in their own order.
func onlyParts(all []part, list string) ([]part, error) {
	wanted := strings.Split(list, ",")
	for i, name := range wanted {
		switch {
		case slices.Contains(wanted[:i], name):
			return nil, fmt.Errorf("-only names %q twice", name)
		case !slices.ContainsFunc(all, func(p part) bool { return p.name == name }):
			return nil, fmt.Errorf("-only names %q, which is no part; the parts are %s", name, partNames())
		}
	}
	return slices.DeleteFunc(all, func(p part) bool { return !slices.Contains(wanted, p.name) }), nil
}

// onMachines measures on real machines (docs/LAB.md): what CKE takes over SSH,
// beside the best that a person could do with ssh.
func onMachines(ctx context.Context, o options) error {
	todo := labParts()
	if o.only != "" {
		var err error
		if todo, err = onlyParts(todo, o.only); err != nil {
			return err
		}
	}
	var l *lab.Lab
	for _, p := range todo {
		var err error
		if p.machines > 0 {
			l, err = sized(l, p.machines, p.opts) //nolint:contextcheck // a lab is taken down whoever gave up
		}
		if err != nil {
			return err
		}
		if p.run == nil {
			continue
		}
		fmt.Printf("-- %s\n", p.name)
		if err := p.run(ctx, o, l); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.name, err), closed(l))
		}
	}
	return closed(l)
}

func closed(l *lab.Lab) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// sized keeps a lab that has the right number of machines, or boots another one.
func sized(l *lab.Lab, machines int, opts []lab.Option) (*lab.Lab, error) {
	if l != nil && len(l.Machines()) == machines {
		return l, nil
	}
	if err := closed(l); err != nil {
		return nil, err
	}
	l, err := lab.Open(machines, opts...)
	if err != nil {
		return nil, err
	}
	fmt.Printf("-- %d machines booted in %d ms\n", machines, l.BootTime().Milliseconds())
	return l, nil
}
