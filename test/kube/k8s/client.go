package k8s

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Client asks the API server as an administrator, by plain requests: what a test
// measures shall not be a client library's patience.
type Client struct {
	url  string
	http *http.Client
}

// StatusError is an answer that is not what was asked for.
type StatusError struct {
	Code int
	Text string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Text) }

// Client returns a new one, with connections of its own.
func (p *Plane) Client() (*Client, error) {
	admin, err := p.ca.client(24*time.Hour, "admin", "system:masters")
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(admin.cert, admin.key)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.ca.pem)
	t := &http.Transport{
		TLSClientConfig:   &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}
	return &Client{p.URL(), &http.Client{Transport: t}}, nil
}

// Get reads an object, or only whether the path answers when out is nil.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, "", nil, out)
}

// Create makes an object; out becomes it as it was stored, unless it is nil.
func (c *Client) Create(ctx context.Context, path string, object, out any) error {
	return c.send(ctx, http.MethodPost, path, "application/json", object, out)
}

// Merge changes an object by a merge patch.
func (c *Client) Merge(ctx context.Context, path string, patch any) error {
	return c.send(ctx, http.MethodPatch, path, "application/merge-patch+json", patch, nil)
}

// Put replaces an object; out becomes it as it was stored, unless it is nil.
func (c *Client) Put(ctx context.Context, path string, object, out any) error {
	return c.send(ctx, http.MethodPut, path, "application/json", object, out)
}

// Delete removes an object.
func (c *Client) Delete(ctx context.Context, path string) error {
	return c.do(ctx, http.MethodDelete, path, "", nil, nil)
}

func (c *Client) send(ctx context.Context, method, path, kind string, object, out any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return c.do(ctx, method, path, kind, body, out)
}

func (c *Client) do(ctx context.Context, method, path, kind string, body []byte, out any) error {
	resp, err := c.open(ctx, method, path, kind, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// open sends a request and returns an answer that is not an error; the caller
// closes its body.
func (c *Client) open(ctx context.Context, method, path, kind string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil, fmt.Errorf("%s %s: %w", method, path, &StatusError{resp.StatusCode, string(text)})
}

// Event is one of a watch.
type Event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// Watch gives each event to see until the watch ends, which is an error too.
func (c *Client) Watch(ctx context.Context, path string, see func(Event)) error {
	resp, err := c.open(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for events := json.NewDecoder(resp.Body); ; {
		var e Event
		if err := events.Decode(&e); err != nil {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		see(e)
	}
}
