package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// Client calls a daemon's API. Its methods mirror Backend's; their errors are
// an *Error where the daemon answered one, an *UnreachableError where there
// was no daemon to ask, and plain otherwise.
type Client struct {
	server string // as given, for messages
	base   string
	http   *http.Client
	tls    *tls.Config // nil on a unix socket

	others []*Client // of more daemons with the same store
	turn   atomic.Int32
}

// ClientTLS names the PEM files for HTTPS: the CA of the server (empty: the
// system's), and the client certificate with its key.
type ClientTLS struct {
	CA, Cert, Key string
}

// NewClient takes unix:///path/to/socket or https://host:port, or several with
// commas between them. It does not connect yet.
func NewClient(servers string, files ClientTLS) (*Client, error) {
	var first *Client
	for server := range strings.SplitSeq(servers, ",") {
		c, err := newClient(strings.TrimSpace(server), files)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = c
		} else {
			first.others = append(first.others, c)
		}
	}
	return first, nil
}

// CloseIdle ends the connections that no request is using.
func (c *Client) CloseIdle() {
	c.http.CloseIdleConnections()
	for _, other := range c.others {
		other.CloseIdle()
	}
}

func newClient(server string, files ClientTLS) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, badServer(server)
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path):
		return unixClient(server, u.Path, greetPatience), nil
	case u.Scheme == "https" && u.Host != "" && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.User == nil:
		return httpsClient(server, u, files)
	default:
		return nil, badServer(server)
	}
}

func badServer(server string) error {
	return Invalid(fmt.Sprintf("server %q is neither unix:///path nor https://host:port", server), "")
}

func unixClient(server, path string, patience time.Duration) *Client {
	return &Client{server: server, base: "http://cke", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialUnix(ctx, path, patience)
		},
	}}}
}

func httpsClient(server string, u *url.URL, files ClientTLS) (*Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if files.CA != "" {
		pool, err := loadPool(files.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	var own *tls.Certificate
	if files.Cert != "" || files.Key != "" {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, fmt.Errorf("load client certificate %q with key %q: %w", files.Cert, files.Key, err)
		}
		own = &pair
	}
	config.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return own, checkCertificate(own, info)
	}
	return &Client{server: server, base: "https://" + u.Host, tls: config, http: &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
	}}}, nil
}

// UnreachableError says that there is no daemon at the other end.
type UnreachableError struct {
	Server string
	Hint   string
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("reach cke at %s: %v", e.Server, e.Err)
}

// Unwrap returns why.
func (e *UnreachableError) Unwrap() error { return e.Err }

type request struct {
	method, path string
	query        url.Values
	contentType  string
	body         []byte
}

// sendOne returns the answer to a request that succeeded; its body is the caller's to close.
func (c *Client) sendOne(ctx context.Context, r request) (*http.Response, error) {
	connected := false
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected = true },
	})
	target := c.base + "/v1" + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.sendError(ctx, connected, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, c.problem(resp)
	}
	return resp, nil
}

func (c *Client) problem(resp *http.Response) error {
	var p Problem
	err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&p)
	if err != nil || p.Code == "" {
		return &Error{
			Code:    CodeFailed,
			Message: fmt.Sprintf("%s answers %q, which is not cke's way", c.server, resp.Status),
			Hint:    "is another program listening there?",
		}
	}
	return &Error{Code: p.Code, Message: p.Detail, Hint: p.Hint, Leader: p.Leader}
}

// callJSON sends a request and decodes its answer into out, unless that is nil.
func (c *Client) callJSON(ctx context.Context, r request, in, out any) error {
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		r.body, r.contentType = body, "application/json"
	}
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

// broken says that an answer did not arrive whole.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read answer of %s: %w", c.current().server, err)
}
