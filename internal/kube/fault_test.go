package kube

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/units"
)

// What real API servers do not do on demand is answered here by a false one. It
// has no objects; its answer to anything but a list and a watch is the case's.
func falseServer(t *testing.T, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("watch") != "":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case r.Method == http.MethodGet:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":"1"},"items":[]}`)
		default:
			answer(w, r)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func kubeconfigFor(t *testing.T, s *httptest.Server) string {
	t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return kubeconfigOf(t, s.URL, base64.StdEncoding.EncodeToString(ca))
}

func kubeconfigOf(t *testing.T, url, ca string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, users: [{name: c, user: {token: t}}],
contexts: [{name: c, context: {cluster: c, user: c}}], clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}]}`, url, ca)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// status answers with a Status as the API server does.
func status(code int, reason, message, details string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q,"details":%s}`,
			code, reason, message, details)
	}
}

func secretsOnly(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/secrets/") {
			answer(w, r)
			return
		}
		status(500, "InternalError", "not this one", "{}")(w, r)
	}
}

type certs struct{}

func (certs) IssueBundle(string, units.Duration, time.Time) (cert, key []byte, err error) {
	return []byte("CERT"), []byte("VERY-SECRET"), nil
}
func (certs) CheckBundle(string, []byte, []byte, time.Time) []string { return nil }

type history struct {
	mu    sync.Mutex
	lines []string
}

func (h *history) add(what string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprint(what, " ", err))
}

func (h *history) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

// runs starts a Publisher that wants one endpoint and one bundle. changed gets a
// value after each change.
func runs(t *testing.T, kubeconfig string) (p *Publisher, changed chan struct{}, h *history) {
	t.Helper()
	changed, h = make(chan struct{}, 1), &history{}
	p = New(Options{Kubeconfig: kubeconfig, Authority: certs{}, Recorded: h.add, Changed: func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { p.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wait.Wait()
	})
	p.Want(Export{
		Cluster: "main", CA: []byte("CA"), Endpoints: es("cp1 10.77.0.11"),
		Bundles: []cluster.Bundle{{User: "app", Namespace: "shop", Name: "etcd"}},
	})
	return p, changed, h
}

// condition waits for a subject's condition of this rule.
func condition(t *testing.T, p *Publisher, changed chan struct{}, subject, rule string) cluster.Condition {
	t.Helper()
	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	for {
		for _, c := range p.Conditions() {
			if c.Subject == subject && c.Rule == rule {
				return c
			}
		}
		select {
		case <-changed:
		case <-patience.C:
			t.Fatalf("%s never shows %s: %+v", subject, rule, p.Conditions())
		}
	}
}

func TestWhatTheAPIServerSaysIsShown(t *testing.T) {
	t.Parallel()
	const secret = "secret shop/etcd"
	for name, c := range map[string]struct {
		answer        http.HandlerFunc
		subject, rule string
		text, hint    string
	}{
		"401": {status(401, "Unauthorized", "Unauthorized", "{}"), "endpoints", ruleCredentialsRefused, "401", "kubeconfig"},
		"403": {status(403, "Forbidden", `services "cke-etcd" is forbidden: User "x" cannot patch resource "services" in API group "" in the namespace "kube-system"`, "{}"),
			"endpoints", rulePermissionMissing, "let CKE patch services in kube-system", "ckecli kubernetes manifests"},
		"quota": {status(403, "Forbidden", `services "cke-etcd" is forbidden: exceeded quota: few`, "{}"), "endpoints", ruleApplyRefused, "exceeded quota: few", ""},
		"no namespace": {status(404, "NotFound", `namespaces "shop" not found`, `{"name":"shop","kind":"namespaces"}`),
			secret, ruleNamespaceMissing, "does not exist", "kubectl create namespace shop"},
		"namespace ends": {status(403, "Forbidden", "because it is being terminated", `{"causes":[{"reason":"NamespaceTerminating"}]}`),
			secret, ruleNamespaceMissing, "is being deleted", "kubectl create namespace shop"},
		"no such kind":   {status(404, "NotFound", "the server could not find the requested resource", "{}"), "endpoints", ruleApplyRefused, "could not find", ""},
		"too many":       {status(429, "TooManyRequests", "slow down", "{}"), "endpoints", ruleSlow, "slow down", ""},
		"server timeout": {status(504, "Timeout", "Timeout: request did not complete", "{}"), "endpoints", ruleSlow, "did not complete", ""},
		"unavailable":    {status(503, "ServiceUnavailable", "shutting down", "{}"), "endpoints", ruleUnreachable, "shutting down", ""},
		"own trouble":    {status(500, "InternalError", "etcdserver: no leader", "{}"), "endpoints", ruleApplyRefused, "no leader", ""},
		"refuses, and repeats the key": {secretsOnly(status(422, "Invalid", "data[tls.key]: Invalid value: VERY-SECRET", `{"causes":[{"field":"data[tls.key]","message":"VERY-SECRET"}]}`)),
			secret, ruleApplyRefused, "422 Invalid: data[tls.key]", ""},
		"a proxy's page": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, "endpoints", ruleUnreachable, "", ""},
		"hangs up":       {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "endpoints", ruleUnreachable, "", ""},
		"hangs":          {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "endpoints", ruleSlow, "no answer within 10s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, changed, h := runs(t, kubeconfigFor(t, falseServer(t, c.answer)))
			got := condition(t, p, changed, c.subject, c.rule)
			if got.OK || !strings.Contains(got.Text, c.text) || !strings.Contains(got.Hint, c.hint) || got.Since.IsZero() {
				t.Errorf("condition %+v, want %q and %q", got, c.text, c.hint)
			}
			if c.subject == subjectEndpoints && p.Published().Trouble == "" {
				t.Error("no trouble")
			}
			if said := fmt.Sprint(p.Conditions(), h); strings.Contains(said, "VERY-SECRET") || strings.Contains(said, base64.StdEncoding.EncodeToString([]byte("VERY-SECRET"))) {
				t.Errorf("the key is in %s", said)
			}
		})
	}
}

func TestAConflictIsNamedAndForced(t *testing.T) {
	t.Parallel()
	refuse := status(409, "Conflict", "Apply failed with 1 conflict", `{"causes":[
{"reason":"FieldManagerConflict","message":"conflict with \"kubectl-edit\" using v1 at 2026-01-01T00:00:00Z","field":".spec.ports"}]}`)
	s := falseServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("force") != "true" {
			refuse(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(strings.Replace(string(body), `"metadata":{`, `"metadata":{"resourceVersion":"2",`, 1)))
	})
	p, changed, h := runs(t, kubeconfigFor(t, s))
	c := condition(t, p, changed, subjectEndpoints, ruleTakenOver)
	if !strings.Contains(c.Text, "kubectl-edit at .spec.ports") {
		t.Errorf("condition %+v", c)
	}
	if !strings.Contains(h.String(), "kubectl-edit at .spec.ports") {
		t.Errorf("recorded %s", h)
	}
}

func TestWhoIsAtTheOtherEnd(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + l.Addr().String()
	l.Close()
	s := falseServer(t, func(http.ResponseWriter, *http.Request) {})
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for _, c := range []struct{ url, rule string }{
		{closed, ruleUnreachable},
		{"https://no-such-host.invalid:6443", ruleUnreachable},
		{s.URL, ruleNotTrusted}, // by no public CA
		{strings.Replace(plain.URL, "http:", "https:", 1), ruleUnreachable},
	} {
		p, changed, _ := runs(t, kubeconfigOf(t, c.url, ""))
		condition(t, p, changed, subjectEndpoints, c.rule)
	}
}

func TestAKubeconfigThatIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"rubbish": ": : :", "empty": "", "no-context": "{apiVersion: v1, kind: Config}",
		"no-file":  "{current-context: c, contexts: [{name: c, context: {cluster: c, user: c}}], users: [{name: c, user: {tokenFile: gone}}], clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]}",
		"bad-cert": "{current-context: c, contexts: [{name: c, context: {cluster: c, user: c}}], users: [{name: c, user: {client-certificate-data: bm8=, client-key-data: bm8=}}], clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]}",
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, changed, _ := runs(t, file)
		c := condition(t, p, changed, subjectEndpoints, ruleKubeconfigUnreadable)
		if name != "bad-cert" && !strings.Contains(c.Text, dir) {
			t.Errorf("%s: %q does not name the file", name, c.Text)
		}
	}
}

func TestAPluginThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	plugin := filepath.Join(t.TempDir(), "plugin")
	// Its child keeps its output open.
	syscall.ForkLock.RLock() // open in another test's child it could not be run
	err := os.WriteFile(plugin, []byte("#!/bin/sh\nsleep 100 &\nwait\n"), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	s := falseServer(t, func(http.ResponseWriter, *http.Request) {})
	file := kubeconfigFor(t, s)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	exec := "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: " + plugin + "}"
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "token: t", exec, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	p, changed, _ := runs(t, file)
	c := condition(t, p, changed, subjectEndpoints, ruleKubeconfigUnreadable)
	if !strings.Contains(c.Text, "does not end within 10s") {
		t.Errorf("condition %+v", c)
	}
}

func TestConflictReadsOnlyConflicts(t *testing.T) {
	t.Parallel()
	if _, is := conflict(errors.New("x")); is {
		t.Error("any error is a conflict")
	}
}
