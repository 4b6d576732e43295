package host

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
)

// Local reaches the handler in this process, without a socket. The caller's
// context is the handler's; the answer is streamed.
func Local(h http.Handler, id func() Identity) *Client {
	return NewClient(inProcess{h}, id, func() error { return nil })
}

type inProcess struct{ handler http.Handler }

// RoundTrip runs the handler in a goroutine and returns at its first write.
func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	r, w := io.Pipe()
	a := &answer{header: http.Header{}, pipe: w, started: make(chan struct{})}
	in := req.Clone(ctx)
	in.RequestURI = req.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	go func() {
		defer cancel()
		defer func() { _ = in.Body.Close() }() // a RoundTripper must close it; nothing was written
		defer func() {
			// Like net/http's server: a handler's panic ends its request only.
			if v := recover(); v != nil {
				a.end(fmt.Errorf("handler panics: %v", v))
				return
			}
			// A handler that was cancelled has not answered, whatever it wrote.
			a.end(req.Context().Err())
		}()
		p.handler.ServeHTTP(a, in)
	}()
	giveUp := func(err error) (*http.Response, error) {
		cancel()
		_ = r.CloseWithError(err) // never fails; it ends the handler's writes
		return nil, err
	}
	select {
	case <-a.started:
	case <-req.Context().Done():
		return giveUp(req.Context().Err())
	}
	if a.failed != nil {
		return giveUp(a.failed)
	}
	// Closed at the writing end, so that the reader is told why.
	stop := context.AfterFunc(req.Context(), func() { _ = w.CloseWithError(req.Context().Err()) })
	return &http.Response{
		Status: fmt.Sprintf("%d %s", a.code, http.StatusText(a.code)), StatusCode: a.code,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: a.sent,
		Body:          &answerBody{PipeReader: r, end: func() { stop(); cancel() }},
		ContentLength: -1, Request: req,
	}, nil
}

// answer is the handler's ResponseWriter.
type answer struct {
	header  http.Header
	pipe    *io.PipeWriter
	once    sync.Once
	started chan struct{} // closed when code, sent and failed are final
	code    int
	sent    http.Header
	failed  error
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(code int) {
	a.once.Do(func() {
		a.code, a.sent = code, maps.Clone(a.header)
		close(a.started)
	})
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.pipe.Write(b)
}

// Flush has nothing to do: a pipe keeps nothing back.
func (a *answer) Flush() { a.WriteHeader(http.StatusOK) }

func (a *answer) end(err error) {
	a.once.Do(func() {
		a.code, a.sent, a.failed = http.StatusOK, maps.Clone(a.header), err
		close(a.started)
	})
	_ = a.pipe.CloseWithError(err) // never fails
}

// answerBody cancels the handler when the caller reads no further.
type answerBody struct {
	*io.PipeReader
	end func()
}

func (b *answerBody) Close() error {
	b.end()
	return b.PipeReader.Close()
}
