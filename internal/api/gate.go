package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/danielgtaylor/huma/v2"
)

// Lead lets a request in that only the leader answers. The context it returns
// ends with the request or with the lead, whichever is first; leave is called
// when the request is over. The error of one that is not let in is NotLeader's.
type Lead func(ctx context.Context) (_ context.Context, leave func(), err error)

// NotLeader says that another daemon acts, or none at this moment. Leader is
// where to ask instead, empty when it is not known or cannot be reached from
// elsewhere.
func NotLeader(message, hint, leader string) *Error {
	return &Error{Code: CodeNotLeader, Message: message, Hint: hint, Leader: leader}
}

// ErrLeadLost is the cause with which Lead ends the context of a request.
var ErrLeadLost = errors.New("this cke does not lead any more")

// unled says of a request that was cut off by the end of the lead what became of
// it. It is no NotLeader: something may have been done.
func unled(ctx context.Context, err error) error {
	if err == nil || !errors.Is(context.Cause(ctx), ErrLeadLost) {
		return err
	}
	return &Error{
		Code: CodeFailed, Message: fmt.Sprintf("%v, and may have begun with this: %v", ErrLeadLost, err),
		Hint: "ckecli leader names the next one; ask it, with ckecli history, what was done",
	}
}

// unread says the same of a request that reads, and of which nothing was sent: the next
// leader can be asked.
func unread(ctx context.Context, err error) error {
	if !errors.Is(context.Cause(ctx), ErrLeadLost) {
		return err
	}
	return NotLeader(ErrLeadLost.Error(), "ckecli leader names the next one; ask it", "")
}

// anyDaemon marks an operation that reads the store only, so that a daemon that
// does not lead answers it too.
const anyDaemon = "any-daemon"

func anywhere(op huma.Operation) huma.Operation {
	op.Metadata = map[string]any{anyDaemon: true}
	return op
}

// gate lets the other operations in only where this daemon leads.
func (s *server) gate(ctx huma.Context, next func(huma.Context)) {
	if s.options.Lead == nil || ctx.Operation().Metadata[anyDaemon] != nil {
		next(ctx)
		return
	}
	led, leave, err := s.options.Lead(ctx.Context())
	if err == nil {
		defer leave()
		next(huma.WithContext(ctx, led))
		return
	}
	p := problemOf(err)
	ctx.SetHeader("Content-Type", problemType)
	ctx.SetHeader("Cache-Control", "no-store")
	ctx.SetStatus(p.Status)
	// A client that left cannot be told anything.
	_ = json.NewEncoder(ctx.BodyWriter()).Encode(p.Problem)
}

// callerOn says on which machine a user of a socket is: where several daemons
// share a history, "uid 0" alone says little.
func callerOn(who, machine string) string {
	if machine == "" {
		return who
	}
	return fmt.Sprintf("%s on %s", who, machine)
}
