package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

// asked is a backend that answers with what a test gave it. A call a test did
// not expect dereferences the nil Backend and fails it.
type asked struct {
	Backend
	putSpec     func(context.Context, string, []byte) (SpecChange, error)
	status      func(context.Context, string) (Status, error)
	watch       func(context.Context, func(Status) error) error
	follow      func(context.Context, int, func(record.Record) error) error
	issue       func(user string, ttl time.Duration) (Certificate, error)
	addUser     func(context.Context, cluster.User) (bool, error)
	snapshot    func() (io.ReadCloser, int64, error)
	stateBackup func(io.Writer) error
	plan        func(context.Context) (plan.Plan, error)
	trust       func(cluster, address, fingerprint string) (TrustedKey, error)
	claim       func(cluster, node string) error
	clean       func(cluster, node string, forget bool) error
	logs        func(ctx context.Context, cluster, node string, n int, follow bool) (io.ReadCloser, error)
}

func (a asked) Clusters(context.Context) ([]ClusterSummary, error) { return nil, nil }
func (a asked) PutSpec(ctx context.Context, name string, text []byte) (SpecChange, error) {
	return a.putSpec(ctx, name, text)
}
func (a asked) Status(ctx context.Context, name string) (Status, error) { return a.status(ctx, name) }
func (a asked) WatchStatus(ctx context.Context, _ string, fn func(Status) error) error {
	return a.watch(ctx, fn)
}
func (a asked) FollowHistory(ctx context.Context, _ string, n int, fn func(record.Record) error) error {
	return a.follow(ctx, n, fn)
}
func (a asked) Issue(_ context.Context, _, user string, ttl time.Duration) (Certificate, error) {
	return a.issue(user, ttl)
}
func (a asked) AddUser(ctx context.Context, _ string, u cluster.User) (bool, error) {
	return a.addUser(ctx, u)
}
func (a asked) Snapshot(context.Context, string) (io.ReadCloser, int64, error) { return a.snapshot() }
func (a asked) StateBackup(_ context.Context, w io.Writer) error               { return a.stateBackup(w) }
func (a asked) Plan(ctx context.Context, _ string) (plan.Plan, error)          { return a.plan(ctx) }
func (a asked) Trust(_ context.Context, c, address, print string) (TrustedKey, error) {
	return a.trust(c, address, print)
}
func (a asked) CleanNode(_ context.Context, c, node string, forget bool) error {
	return a.clean(c, node, forget)
}

func (a asked) Logs(ctx context.Context, c, node string, n int, follow bool) (io.ReadCloser, error) {
	return a.logs(ctx, c, node, n, follow)
}
func (a asked) Claim(_ context.Context, c, node string) error { return a.claim(c, node) }

// serve runs a backend on a unix socket and returns its server and a client.
func serve(t *testing.T, b Backend) (*http.Server, *Client) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cke.sock")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, b, l), newTestClient(t, "unix://"+path, ClientTLS{})
}

func serveOn(t *testing.T, b Backend, l net.Listener) *http.Server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	srv := HTTPServer(NewServer(b, Options{Version: "1.2.3", Log: log}), log)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return srv
}

func newTestClient(t *testing.T, server string, files ClientTLS) *Client {
	t.Helper()
	c, err := NewClient(server, files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// raw sends a request as written and returns the answer with its body.
func raw(t *testing.T, c *Client, method, path, contentType, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestErrorsKeepCodeAndHint(t *testing.T) {
	for _, c := range []struct {
		give   error
		status int
		want   Error
	}{
		{Refused("no quorum", "wait"), 409, Error{Code: CodeRefused, Message: "no quorum", Hint: "wait"}},
		{Invalid("bad name", ""), 422, Error{Code: CodeInvalid, Message: "bad name", Hint: ""}},
		{NotFound("no such cluster", "list"), 404, Error{Code: CodeNotFound, Message: "no such cluster", Hint: "list"}},
		{errors.New("disk on fire"), 500, Error{Code: CodeFailed, Message: "disk on fire", Hint: ""}},
		{NotLeader("not me", "ask", "https://b"), 503, Error{Code: CodeNotLeader, Message: "not me", Hint: "ask", Leader: "https://b"}},
		{fmt.Errorf("get x: %w", Refused("no", "h")), 409, Error{Code: CodeRefused, Message: "get x: no", Hint: "h"}},
	} {
		_, client := serve(t, asked{status: func(context.Context, string) (Status, error) { return Status{}, c.give }})
		_, err := client.Status(t.Context(), "main")
		var got *Error
		if !errors.As(err, &got) {
			t.Errorf("%v: got %v", c.give, err)
			continue
		}
		if diff := cmp.Diff(c.want, *got); diff != "" {
			t.Errorf("%v: %s", c.give, diff)
		}
		resp, body := raw(t, client, "GET", "/v1/clusters/main/status", "", "")
		if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != problemType {
			t.Errorf("%v: %s %s", c.give, resp.Status, resp.Header.Get("Content-Type"))
		}
		var p Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != c.status || p.Title != http.StatusText(c.status) {
			t.Errorf("%v: %s (%v)", c.give, body, err)
		}
	}
}

func TestBadRequests(t *testing.T) {
	_, client := serve(t, asked{})
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code, detail             string
	}{
		{"unknown field", "POST", "/v1/clusters/main/users", `{"name":"a","prefix":"/a/","passwrd":"x"}`, 422, CodeInvalid, "body.passwrd: unexpected property"},
		{"missing field", "POST", "/v1/clusters/main/users", `{"name":"a"}`, 422, CodeInvalid, "prefix"},
		{"wrong type", "POST", "/v1/clusters/main/users", `{"name":1,"prefix":"/a/"}`, 422, CodeInvalid, "body.name"},
		{"no json", "POST", "/v1/clusters/main/users", `{`, 400, CodeInvalid, ""},
		{"no body", "POST", "/v1/clusters/main/users", ``, 400, CodeInvalid, "body"},
		{"unknown query", "GET", "/v1/clusters/main/history?lines=3", ``, 422, CodeInvalid, "lines"},
		{"bad number", "GET", "/v1/clusters/main/history?n=x", ``, 422, CodeInvalid, "query.n"},
		{"ttl 0", "POST", "/v1/clusters/main/certificates", `{"user":"a","ttl":"0"}`, 422, CodeInvalid, "ttl"},
		{"ttl negative", "POST", "/v1/clusters/main/certificates", `{"user":"a","ttl":"-1h"}`, 422, CodeInvalid, "not positive"},
		{"ttl garbage", "POST", "/v1/clusters/main/certificates", `{"user":"a","ttl":"soon"}`, 422, CodeInvalid, "not a duration"},
		{"unknown path", "GET", "/v1/nothing", ``, 404, CodeNotFound, "/v1/nothing"},
		{"wrong method", "POST", "/v1/leader", ``, 405, CodeInvalid, "POST /v1/leader"},
		{"large", "PUT", "/v1/clusters", strings.Repeat("#", maxBody+1), 413, CodeInvalid, "larger than 1048576"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := raw(t, client, c.method, c.path, "application/json", c.body)
			var p Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if resp.StatusCode != c.status || p.Status != c.status || p.Code != c.code || !strings.Contains(p.Detail, c.detail) {
				t.Errorf("%s: %+v", resp.Status, p)
			}
		})
	}
	t.Run("HEAD does not run a stream", func(t *testing.T) {
		if resp, _ := raw(t, client, "HEAD", "/v1/state", "", ""); resp.StatusCode != 405 {
			t.Error(resp.Status)
		}
	})
}

func TestRequestsArriveAsSent(t *testing.T) {
	var got []string
	_, client := serve(t, asked{
		putSpec: func(_ context.Context, name string, text []byte) (SpecChange, error) {
			got = append(got, name, string(text))
			return SpecChange{Cluster: "main", Revision: 7, Created: true, Warnings: []string{"w"}}, nil
		},
		issue: func(user string, ttl time.Duration) (Certificate, error) {
			got = append(got, user, ttl.String())
			return Certificate{"ca", "cert", "key"}, nil
		},
		addUser: func(_ context.Context, u cluster.User) (bool, error) {
			got = append(got, u.Name, u.Prefix)
			return true, nil
		},
		trust: func(c, address, print string) (TrustedKey, error) {
			got = append(got, c, address, print)
			return TrustedKey{Node: "cp1", Type: "RSA"}, nil
		},
		claim: func(c, node string) error { got = append(got, c, node); return nil },
		clean: func(c, node string, forget bool) error {
			got = append(got, c, node, strconv.FormatBool(forget))
			return nil
		},
	})
	ctx := t.Context()
	change, err := client.PutSpec(ctx, "dir/a b.yml", bytes.Repeat([]byte("#"), maxBody))
	if err != nil || change.Revision != 7 || change.Warnings[0] != "w" {
		t.Fatal(change, err)
	}
	if _, err := client.Issue(ctx, "main", "app", 36*time.Hour); err != nil {
		t.Fatal(err)
	}
	if resp, body := raw(t, client, "POST", "/v1/clusters/main/certificates", "application/json", `{"user":"b"}`); resp.Header.Get("Cache-Control") != "no-store" ||
		strings.TrimSpace(body) != `{"ca_certificate":"ca","certificate":"cert","private_key":"key"}` {
		t.Error(resp.Header, body)
	}
	if created, err := client.AddUser(ctx, "main", cluster.User{Name: "app", Prefix: "/a/"}); err != nil || !created {
		t.Fatal(created, err)
	}
	if k, err := client.Trust(ctx, "main", "10.0.0.1", "SHA256:x"); err != nil || k.Type != "RSA" {
		t.Fatal(err)
	}
	if err := client.Claim(ctx, "a/b", "c d"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(client.CleanNode(ctx, "a/b", "c d", false), client.CleanNode(ctx, "main", "cp4", true)); err != nil {
		t.Fatal(err)
	}
	want := []string{"dir/a b.yml", strings.Repeat("#", maxBody), "app", "36h0m0s", "b", "87600h0m0s",
		"app", "/a/", "main", "10.0.0.1", "SHA256:x", "a/b", "c d", "a/b", "c d", "false", "main", "cp4", "true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if v, err := client.Version(ctx); err != nil || v != "1.2.3" {
		t.Error(v, err)
	}
	if list, err := client.Clusters(ctx); err != nil || list == nil {
		t.Error("no cluster is not an empty list:", list, err)
	}
	for path, start := range map[string]string{"/openapi.json": `{"components"`, "/openapi.yaml": "components:"} {
		if _, body := raw(t, client, "GET", path, "", ""); !strings.HasPrefix(body, start) {
			t.Errorf("%s begins with %.40q", path, body)
		}
	}
}

// A handler that works longer than its body took to arrive must not be
// cancelled by the deadline the body had.
func TestBodyDeadlineEndsWithTheBody(t *testing.T) {
	conn := &deadlines{ResponseWriter: nil}
	h := readBody(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if !conn.last.IsZero() {
			t.Errorf("the handler runs with a read deadline at %s", conn.last)
		}
		if conn.set != 2 {
			t.Errorf("the deadline was set %d times, want once for the body and once back", conn.set)
		}
	}))
	req, err := http.NewRequest("PUT", "/", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	h.ServeHTTP(conn, req)
	if conn.set == 0 {
		t.Error("the body has no deadline")
	}
}

type deadlines struct {
	http.ResponseWriter
	last time.Time
	set  int
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.last, d.set = t, d.set+1
	return nil
}

var _ Backend = (*Client)(nil)
