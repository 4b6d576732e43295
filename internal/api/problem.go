package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// problem is a Problem on its way out through huma.
type problem struct{ Problem }

func (p *problem) Error() string    { return p.Detail }
func (p *problem) GetStatus() int   { return p.Status }
func (p *problem) isComplete() bool { return p.Code != "" }

// ContentType is how huma learns the media type of an error.
func (p *problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

func newProblem(status int, code, detail, hint string) *problem {
	return &problem{Problem{
		Status: status, Title: http.StatusText(status), Detail: detail, Hint: hint, Code: code,
	}}
}

// problemOf says an error in the API's words. What wraps an *Error stays part
// of the message, so that the place is not lost.
func problemOf(err error) *problem {
	var done *problem
	if errors.As(err, &done) && done.isComplete() {
		return done
	}
	var e *Error
	if !errors.As(err, &e) {
		return newProblem(http.StatusInternalServerError, CodeFailed, err.Error(), "")
	}
	p := newProblem(statusOf(e.Code), e.Code, err.Error(), e.Hint)
	p.Leader = e.Leader
	return p
}

func statusOf(code string) int {
	switch code {
	case CodeRefused:
		return http.StatusConflict
	case CodeInvalid:
		return http.StatusUnprocessableEntity
	case CodeNotFound:
		return http.StatusNotFound
	case CodeNotLeader:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

func codeOf(status int) string {
	switch {
	case status == http.StatusNotFound:
		return CodeNotFound
	case status >= 400 && status < 500:
		return CodeInvalid
	default:
		return CodeFailed
	}
}

// humaErrors turns huma's own complaints, such as an unknown field, into a Problem.
func humaErrors(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	details := []string{m.Detail}
	for _, e := range m.Errors {
		if e.Location == "" {
			details = append(details, e.Message)
			continue
		}
		details = append(details, fmt.Sprintf("%s: %s", e.Location, e.Message))
	}
	return &newProblem(m.Status, codeOf(m.Status), strings.Join(details, "\n"), "").Problem, nil
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, p *problem) {
	w.Header().Set("Content-Type", problemType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	// A client that left cannot be told anything.
	_ = json.NewEncoder(w).Encode(p.Problem)
}
