package app

import (
	"context"
	"testing"
	"time"

	"cke/internal/config"
)

// What a person did is in the history though they hung up meanwhile.
func TestWhatWasDoneIsRecordedThoughItsCallerIsGone(t *testing.T) {
	b := newBackend(t, config.None)
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	must(t, b.note(ctx, "main", "pause", "moving racks", nil, time.Now()))
	list, err := b.store.Records(t.Context(), "main", 9)
	if must(t, err); len(list) != 1 || list[0].Action != "pause" {
		t.Errorf("history: %+v", list)
	}
}
