package host

import (
	"encoding/json"
	"io"
	"testing"
)

func writeFailure(t *testing.T, w io.Writer, f Failure) {
	t.Helper()
	if err := json.NewEncoder(w).Encode(f); err != nil {
		t.Error(err)
	}
}
