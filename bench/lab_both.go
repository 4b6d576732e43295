package main

import (
	"context"
	"errors"

	"cke/test/lab"
)

// Machines 1 to 4 are for a cluster of CKE's, 5 to 8 for one that is cared for by
// hand; of each, three carry members to begin with. Both go on all the time, so
// that they can be measured in turn and none begins anew.
const (
	eachMachines = 4
	bothMachines = 2 * eachMachines
)

// roomyPreflight: the box's disk is shared by everything that runs here, and the
// machines' own are small.
const roomyPreflight = "preflight: {min_free: 100MiB, max_fsync: 10s}\n"

// withBoth founds the two clusters on clean machines, and ends them afterwards.
func withBoth(ctx context.Context, o options, l *lab.Lab, node string, do func(*tended, *hand) error) (err error) {
	if err := cleaned(ctx, l, all); err != nil {
		return err
	}
	t, err := tend(ctx, o, l, "cke-both", "", node, rollingTail(0))
	if err != nil {
		return err
	}
	defer func() { err = t.over(err) }()
	h, err := byHandOn(ctx, o, l, l.Machines()[eachMachines:])
	if err != nil {
		return err
	}
	return errors.Join(do(t, h), h.close())
}

// withTended founds only CKE's, on machines on which nothing of CKE is.
func withTended(ctx context.Context, o options, l *lab.Lab, do func(*tended) error) error {
	if err := cleaned(ctx, l, bare); err != nil {
		return err
	}
	t, err := tend(ctx, o, l, "cke-tended", "", "", roomyPreflight)
	if err != nil {
		return err
	}
	return t.over(do(t))
}
