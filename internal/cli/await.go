package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/units"
)

// errArrived ends the watching of a status.
var errArrived = errors.New("arrived")

// awaitStatus follows a cluster's status until there tells that it is so, or why it
// will not be. Who waits too long is told what is in the way of the node.
func awaitStatus(ctx context.Context, s *session, c *api.Client, name string, timeout positiveDuration, node cluster.NodeName, there func(api.Status) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, units.Duration(timeout).Std(), errTimeout)
	defer cancel()
	var last api.Status
	err := watchOutcome(ctx, s, c, name, func(st api.Status) error {
		last = st
		arrived, err := there(st)
		if err == nil && arrived {
			err = errArrived
		}
		return err
	})
	switch {
	case errors.Is(err, errArrived):
		return nil
	case errors.Is(context.Cause(ctx), errTimeout):
		return late(last, node, timeout)
	}
	return err
}

func late(st api.Status, node cluster.NodeName, timeout positiveDuration) error {
	var why []string
	for _, r := range st.Plan.Reasons {
		if r.Level != plan.Note && (r.Node == node || r.Node == "") {
			why = append(why, r.String())
		}
	}
	message := fmt.Sprintf("node %s is not there yet after %s", node, units.Duration(timeout))
	if len(why) > 0 {
		message += ":\n" + strings.Join(why, "\n")
	}
	return &api.Error{Code: api.CodeFailed, Message: message, Hint: "cke goes on; look with ckecli status"}
}
