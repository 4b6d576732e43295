package publish_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cke/internal/cluster"
)

func TestEveryKindOfLogin(t *testing.T) {
	s := kubernetes(t)
	dir := t.TempDir()
	p, err := s.ca.issue("cke", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "cke.crt"), string(p.cert))
	writeFile(t, filepath.Join(dir, "cke.key"), string(p.key))
	writeFile(t, filepath.Join(dir, "token"), "cke-token\n")
	plugin := filepath.Join(dir, "plugin")
	script(t, plugin, `echo to a terminal >&2
case "$KUBERNETES_EXEC_INFO" in *'"interactive":false'*) ;; *) exit 1;; esac
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$1-$SECOND'"}}'`)
	for _, user := range map[string]string{
		"token":       cke,
		"token file":  "{tokenFile: " + filepath.Join(dir, "token") + "}",
		"certificate": fmt.Sprintf("{client-certificate: %s, client-key: %s}", filepath.Join(dir, "cke.crt"), filepath.Join(dir, "cke.key")),
		"certificate data": fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}",
			base64.StdEncoding.EncodeToString(p.cert), base64.StdEncoding.EncodeToString(p.key)),
		"plugin": "{exec: {apiVersion: client.authentication.k8s.io/v1, command: " + plugin +
			", args: [cke], env: [{name: SECOND, value: token}], interactiveMode: IfAvailable}}",
	} {
		s.clean(t)
		r := s.publish(t, s.kubeconfig(t, user), newIssuer(t))
		r.Want(three())
		r.shows(t, "endpoints", "")
		s.isReady(t, "cke-etcd", "10.77.0.11 10.77.0.12 10.77.0.13")
		r.stop()
	}
}

func script(t *testing.T, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestRotatedFilesArePickedUp(t *testing.T) {
	s := kubernetes(t)
	dir := t.TempDir()
	token, file := filepath.Join(dir, "token"), filepath.Join(dir, "kubeconfig")
	r := s.publish(t, file, newIssuer(t))
	r.Want(three())
	c := r.shows(t, "endpoints", "kubeconfigCannotBeRead")
	if !strings.Contains(c.Text, file) || !strings.Contains(c.Hint, "cluster.yml") {
		t.Errorf("condition %+v", c)
	}
	s.rewrite(t, file, "{tokenFile: "+token+"}")
	eventually(t, func() error {
		for _, c := range r.Conditions() {
			if strings.Contains(c.Text, token) {
				return nil
			}
		}
		return fmt.Errorf("the token is not named: %+v", r.Conditions())
	})
	writeFile(t, token, "expired-token")
	r.shows(t, "endpoints", "credentialsAreRefused")
	writeFile(t, token, "cke-token")
	r.shows(t, "endpoints", "")
	s.isReady(t, "cke-etcd", "10.77.0.11 10.77.0.12 10.77.0.13")

	// Gone for a while: what is open stays in use, and it is said.
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	r.shows(t, "endpoints", "kubeconfigCannotBeRead")
	r.Want(withdrawn(three(), 0))
	s.isReady(t, "cke-etcd", "!10.77.0.11 10.77.0.12 10.77.0.13")
	writeFile(t, token, "other-token")
	r.shows(t, "endpoints", "")
}

func TestAPluginsTroubleIsShown(t *testing.T) {
	s := kubernetes(t)
	plugin := filepath.Join(t.TempDir(), "plugin")
	user := func(command string) string {
		return "{exec: {apiVersion: client.authentication.k8s.io/v1, command: " + command + ", interactiveMode: Never, installHint: get it at example.org}}"
	}
	for body, want := range map[string]string{
		"": "get it at example.org",
		"echo first >&2; echo no account >&2; exit 3": "exit status 3: no account",
		"echo '{}'": "it gives no ExecCredential",
		"echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{}}'": "neither a token nor a certificate",
		"echo '{\"apiVersion\":\"client.authentication.k8s.io/v9\",\"kind\":\"ExecCredential\",\"status\":{}}'": "answers in client.authentication.k8s.io/v9",
	} {
		command := plugin
		if body == "" {
			command = "no-such-plugin-anywhere"
		} else {
			script(t, plugin, body)
		}
		r := s.publish(t, s.kubeconfig(t, user(command)), newIssuer(t))
		r.Want(three())
		if c := r.shows(t, "endpoints", "kubeconfigCannotBeRead"); !strings.Contains(c.Text, want) {
			t.Errorf("%q: %q, want %q in it", body, c.Text, want)
		}
		r.stop()
	}
}

func TestWithoutAPodThereIsNoServiceAccount(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	s := kubernetes(t)
	r := s.publish(t, cluster.InCluster, newIssuer(t))
	r.Want(three())
	if c := r.shows(t, "endpoints", "kubeconfigCannotBeRead"); !strings.Contains(c.Hint, "pod") {
		t.Errorf("condition %+v", c)
	}
}
