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
	var fnErr error
	begun, told := false, false
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
