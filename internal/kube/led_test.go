package kube

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestADeposedPublisherChangesNothing(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.Method) }))
	defer srv.Close()
	until := time.Time{}
	c := http.Client{Transport: led{http.DefaultTransport, func() time.Time { return until }}}
	do := func(method string) error {
		r, err := http.NewRequestWithContext(t.Context(), method, srv.URL, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
	// Without an end, before it, and after it; by the wall's clock alone, too.
	for _, u := range []time.Time{{}, time.Now().Add(time.Hour)} {
		if until = u; do(http.MethodPatch) != nil {
			t.Errorf("until %s: a change is refused", u)
		}
	}
	for _, u := range []time.Time{time.Now().Add(-time.Millisecond), time.Unix(1, 0)} {
		until = u
		if err := errors.Join(do(http.MethodGet)); err != nil {
			t.Errorf("until %s: a question is refused: %v", u, err)
		}
		for _, m := range []string{http.MethodPatch, http.MethodDelete, http.MethodPost, http.MethodPut} {
			if err := do(m); !errors.Is(err, errTooLate) {
				t.Errorf("until %s: %s: %v", u, m, err)
			}
		}
	}
	if s := strings.Join(got, " "); s != "PATCH PATCH GET GET" {
		t.Errorf("the server got %s", s)
	}
	s := session{until: func() time.Time { return time.Now().Add(-time.Second) }}
	ctx, cancel := s.changing(t.Context())
	defer cancel()
	if ctx.Err() == nil {
		t.Error("the context of a change goes on after the lead")
	}
}
