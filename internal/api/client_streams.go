package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"cke/internal/record"
)

// WatchStatus calls fn with the status now and after every change, until ctx
// ends, fn fails (its error is returned), or the stream breaks.
func (c *Client) WatchStatus(ctx context.Context, name string, fn func(Status) error) error {
	return followLines(ctx, c, request{method: http.MethodGet, path: on(name, "status", "watch")}, fn)
}

// FollowHistory calls fn with the newest n records and then with each new one.
func (c *Client) FollowHistory(ctx context.Context, name string, n int, fn func(record.Record) error) error {
	r := request{
		method: http.MethodGet, path: on(name, "history", "follow"),
		query: url.Values{"n": {strconv.Itoa(n)}},
	}
	return followLines(ctx, c, r, fn)
}

// followLines returns nil only when the daemon ended the stream on purpose.
func followLines[T any](ctx context.Context, c *Client, r request, fn func(T) error) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var v T
		err := lines.Decode(&v)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return c.broken(ctx, err)
		}
		if err := fn(v); err != nil {
			return err
		}
	}
}

// Snapshot streams etcd's snapshot; the second value estimates its length, 0
// when unknown. A stream that breaks ends with an error other than io.EOF.
func (c *Client) Snapshot(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: on(name, "snapshot")}) //nolint:bodyclose // the caller's
	if err != nil {
		return nil, 0, err
	}
	estimate, err := strconv.ParseInt(resp.Header.Get(estimateHeader), 10, 64)
	if err != nil {
		estimate = 0
	}
	return &byteStream{ctx: ctx, client: c, ReadCloser: resp.Body}, estimate, nil
}

// Logs streams the last n lines of what the members on a node wrote; with follow
// it goes on until it is closed or ctx ends.
func (c *Client) Logs(ctx context.Context, name, node string, n int, follow bool) (io.ReadCloser, error) {
	resp, err := c.send(ctx, request{ //nolint:bodyclose // the caller's
		method: http.MethodGet, path: on(name, "nodes", node, "logs"),
		query: url.Values{"n": {strconv.Itoa(n)}, "follow": {strconv.FormatBool(follow)}},
	})
	if err != nil {
		return nil, err
	}
	return &byteStream{ctx: ctx, client: c, ReadCloser: resp.Body}, nil
}

// StateBackup writes CKE's own state to w. What was written counts only when
// the error is nil.
func (c *Client) StateBackup(ctx context.Context, w io.Writer) error {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: "/state"})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, &byteStream{ctx: ctx, client: c, ReadCloser: resp.Body})
	return err
}

// byteStream gives a broken stream's error its place.
type byteStream struct {
	io.ReadCloser
	ctx    context.Context
	client *Client
}

func (s *byteStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.client.broken(s.ctx, err)
	}
	return n, err
}
