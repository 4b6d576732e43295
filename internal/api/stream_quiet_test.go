package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// quiet is a ResponseWriter that remembers its write deadline.
type quiet struct {
	*httptest.ResponseRecorder
	last time.Time
	set  int
}

func (d *quiet) SetWriteDeadline(t time.Time) error {
	d.last, d.set = t, d.set+1
	return nil
}

// A stream that is quiet for longer than a write may take is not over.
func TestQuietStreamHasNoDeadline(t *testing.T) {
	d := &quiet{ResponseRecorder: httptest.NewRecorder()}
	w := flushed{&streamWriter{w: d, control: http.NewResponseController(d)}}
	if _, err := w.Write([]byte("x\n")); err != nil {
		t.Fatal(err)
	}
	if d.set != 2 || !d.last.IsZero() || !d.Flushed {
		t.Errorf("%d deadlines, the last %s", d.set, d.last)
	}
}
