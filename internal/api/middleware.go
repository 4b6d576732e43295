package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

const (
	// maxBody is enough for a cluster.yml of thousands of nodes.
	maxBody = 1 << 20
	// bodyTimeout is for the body only: a deadline left on the connection would
	// cancel a handler that works longer than it.
	bodyTimeout = 30 * time.Second
)

// readBody reads a request's body whole, within limits of size and time.
func readBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			writeProblem(w, problemOf(err))
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			status := http.StatusBadRequest
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				status = http.StatusRequestEntityTooLarge
				err = fmt.Errorf("request body is larger than %d bytes", large.Limit)
			}
			writeProblem(w, newProblem(status, CodeInvalid, err.Error(), ""))
			return
		}
		if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			writeProblem(w, problemOf(err))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// problems answers with a Problem where the mux would answer with plain text,
// and refuses HEAD, which would run a whole stream for its header.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" && r.Method != http.MethodHead {
			mux.ServeHTTP(w, r)
			return
		}
		status := http.StatusMethodNotAllowed
		if pattern == "" {
			s := &statusOnly{header: w.Header()}
			h.ServeHTTP(s, r)
			status = s.status
		}
		detail := fmt.Sprintf("%s %s is not an operation of this API", r.Method, r.URL.Path)
		writeProblem(w, newProblem(status, codeOf(status), detail, "GET /openapi.json lists them"))
	})
}

// statusOnly takes an answer's status and header and drops its body.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }

// logged notes every request for those who debug; what a request changed is in
// the history.
func logged(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		defer func() {
			log.DebugContext(r.Context(), "api request", "method", r.Method, "path", r.URL.Path,
				"took_ms", time.Since(start).Milliseconds())
		}()
		next.ServeHTTP(w, r)
	})
}
