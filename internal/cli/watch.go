package cli

import (
	"context"
	"errors"
	"time"

	"cke/internal/api"
)

// watchStatus follows a cluster's status until ctx ends or fn fails. Once it
// has begun it outlives a restart of cke, and another cke that takes over.
func watchStatus(ctx context.Context, s *session, c *api.Client, name string, fn func(api.Status) error) error {
	return watchOn(ctx, s, c, name, false, fn)
}

// watchOutcome is watchStatus for what cke was just asked to do: it was there and has
// taken it, so that this outlives its end from the beginning.
func watchOutcome(ctx context.Context, s *session, c *api.Client, name string, fn func(api.Status) error) error {
	return watchOn(ctx, s, c, name, true, fn)
}

func watchOn(ctx context.Context, s *session, c *api.Client, name string, begun bool, fn func(api.Status) error) error {
	var fnErr error
	told := false
	for {
		err := c.WatchStatus(ctx, name, func(st api.Status) error {
			begun, told = true, false
			fnErr = fn(st)
			return fnErr
		})
		var answered *api.Error
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case fnErr != nil:
			return fnErr
		case errors.As(err, &answered) && (!begun || answered.Code != api.CodeNotLeader), err != nil && !begun:
			return err
		}
		if !told {
			s.warn("the connection to cke broke; trying again")
			told = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}
