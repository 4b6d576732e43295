package app

import (
	"context"
	"errors"
	"testing"

	"cke/internal/host"
	"cke/internal/store"
)

func TestLocalNodesAreOnOneMachineOnly(t *testing.T) {
	t.Parallel()
	var first *store.Machine
	var fails error
	ask := func(_ context.Context, m store.Machine) (store.Machine, error) {
		if first == nil && fails == nil {
			first = &m
		}
		if fails != nil {
			return store.Machine{}, fails
		}
		return *first, nil
	}
	a := localMachine{self: store.Machine{ID: "1", Hostname: "a", Root: "/r"}, ask: ask}
	fails = errors.New("no store")
	if err := a.here(); !errors.Is(err, fails) {
		t.Errorf("while nobody knows: %v", err)
	}
	fails = nil
	for range 2 {
		if err := a.here(); err != nil {
			t.Error(err)
		}
	}
	for _, other := range []store.Machine{{ID: "2", Hostname: "b", Root: "/r"}, {ID: "1", Hostname: "a", Root: "/other"}} {
		b := localMachine{self: other, ask: ask}
		var trouble *host.TroubleError
		if err := b.here(); !errors.As(err, &trouble) || trouble.Hint == "" {
			t.Errorf("%+v: %v", other, err)
		}
	}
	// Another daemon on the same machine reaches them as well.
	same := localMachine{self: store.Machine{ID: "1", Hostname: "renamed", Root: "/r"}, ask: ask}
	if err := same.here(); err != nil {
		t.Error(err)
	}
}
