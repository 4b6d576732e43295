package app

import (
	"errors"
	"testing"
	"time"

	"cke/internal/api"
)

// TestWhoAsksBetweenTwoTermsWaits: the store names this daemon before its term has
// begun, and who asks in that moment is let in once it has, or told that it has not.
func TestWhoAsksBetweenTwoTermsWaits(t *testing.T) {
	t.Parallel()
	a := fleetOf(t, t.TempDir(), 0)
	must(t, a.Start(t.Context()))
	put := func(term *term) *term {
		a.mu.Lock()
		defer a.mu.Unlock()
		before := a.term
		a.term = term
		return before
	}
	present := put(nil)
	began := time.Now()
	_, _, err := a.lead(t.Context())
	var told *api.Error
	if !errors.As(err, &told) || told.Code != api.CodeNotLeader || time.Since(began) < termPatience {
		t.Errorf("after %s without a term: %v", time.Since(began), err)
	}
	let := make(chan error, 1)
	go func() {
		_, leave, err := a.lead(t.Context())
		if err == nil {
			leave()
		}
		let <- err
	}()
	select {
	case err := <-let:
		t.Errorf("without a term it was answered: %v", err)
	case <-time.After(4 * termLook):
	}
	put(present)
	must(t, <-let)
	must(t, a.Stop(t.Context()))
	if _, _, err := a.lead(t.Context()); !errors.As(err, &told) || told.Code != api.CodeNotLeader {
		t.Errorf("once it has stopped: %v", err)
	}
}
