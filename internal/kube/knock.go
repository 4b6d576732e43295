package kube

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// knocks is how many requests about Secrets may be waiting for a connection at once.
const knocks = 4

// knocking lets few requests at a time look for a connection. Hundreds that begin
// together, as after the API server was away, would each make one, and need one.
type knocking struct {
	http.RoundTripper
	doors chan struct{}
}

func (k knocking) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case k.doors <- struct{}{}:
	case <-r.Context().Done():
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper must close it; nothing was sent
		}
		// As whoever is before it, it got no connection.
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: context.Cause(r.Context())}
	}
	in := sync.OnceFunc(func() { <-k.doors })
	defer in()
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { in() }}
	return k.RoundTripper.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
}
