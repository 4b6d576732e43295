package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/reconcile"
	"cke/internal/store"
)

// RebootNodes records which machines are to be rebooted; the loop does it, whoever
// leads.
func (b backend) RebootNodes(ctx context.Context, name string, req api.RebootRequest) (cluster.Reboot, error) {
	began := time.Now()
	r := cluster.Reboot{By: api.Caller(ctx), Why: req.Why, At: began.UTC(), Interrupt: req.Interrupt}
	var c *care
	for _, which := range req.Nodes {
		found, n, err := b.caredNode(ctx, name, which)
		if err != nil {
			return r, err
		}
		if c = found; slices.Contains(r.Nodes, n.Hostname) {
			return r, api.Invalid(fmt.Sprintf("node %s is named twice", n.Hostname), "nothing was changed")
		}
		r.Nodes = append(r.Nodes, n.Hostname)
	}
	if c == nil {
		return r, api.Invalid("no node is named", "nothing was changed")
	}
	w, st, _, err := c.loop.Look(ctx)
	if err != nil {
		return r, err
	}
	if why, hint := plan.RebootRefused(w.Spec, st, r); why != "" {
		return r, api.Refused("nothing is rebooted: "+why, hint)
	}
	err = b.store.PutReboot(ctx, name, r)
	if errors.Is(err, store.ErrConflict) {
		return r, api.Refused("machines are being rebooted already", "ckecli status; ckecli node reboot --cancel")
	}
	if err := b.note(ctx, name, fmt.Sprintf("reboot %v", r.Nodes), r.Why, err, began); err != nil {
		return r, err
	}
	c.loop.Wake()
	written := time.Now()
	return r, awaitView(ctx, c.loop, func(v reconcile.View) bool {
		if v.State.Reboot == nil {
			return v.State.At.After(written.Add(seenWithin)) // it is over, not merely unseen
		}
		return !v.State.Reboot.At.Before(r.At)
	})
}

// seenWithin is more than lies between the reading of what is wanted and the look
// that follows.
const seenWithin = 5 * time.Second

// CancelReboot lets no further machine be rebooted. The one whose turn it is is put
// into service again.
func (b backend) CancelReboot(ctx context.Context, name string) error {
	c, err := b.care(ctx, name)
	if err != nil {
		return err
	}
	w, err := b.store.Load(ctx, name)
	if err != nil || w.Reboot == nil {
		return err
	}
	began := time.Now()
	err = b.store.DropReboot(ctx, name)
	for _, d := range w.Drains {
		if d.Reboot && !d.Over() && err == nil {
			over := d
			over.Ended = began.UTC()
			_, err = b.store.ChangeDrain(ctx, name, &d, over) // a person's own drain stays
		}
	}
	if err := b.note(ctx, name, "cancel the reboot", "", err, began); err != nil {
		return err
	}
	c.loop.Wake()
	return awaitView(ctx, c.loop, func(v reconcile.View) bool {
		telling := slices.ContainsFunc(v.Running, func(s plan.Step) bool { return s.Kind == plan.RebootMachine })
		return v.State.Reboot == nil && !telling
	})
}
