package kube

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// errTooLate says that this cke may lead no more when the change would be made.
// Kubernetes cannot tell an old leader from a new one, so it is not sent.
var errTooLate = errors.New("this cke does not lead any more")

// led sends no change from until on, as known right before it is sent: a process
// that was stopped before this and goes on later changes nothing.
type led struct {
	http.RoundTripper
	until func() time.Time
}

func (l led) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet || !over(l.until()) {
		return l.RoundTripper.RoundTrip(r)
	}
	if r.Body != nil {
		_ = r.Body.Close() // a RoundTripper must close it; nothing was sent
	}
	return nil, errTooLate
}

// over: by either clock; a machine that slept has one that stood still.
func over(until time.Time) bool {
	now := time.Now()
	return !until.IsZero() && (!now.Before(until) || !now.Round(0).Before(until.Round(0)))
}

// changing bounds a change by the patience for a request and by the time until
// which this cke leads.
func (s *session) changing(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(requestPatience)
	if until := s.until(); !until.IsZero() && until.Before(end) {
		end = until
	}
	return context.WithDeadline(ctx, end)
}
