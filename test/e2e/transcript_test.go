package e2e

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cke/internal/record"
	"cke/test/drive"
)

// transcript is what the guide tells a new user to type.
const transcript = `
CERT=$(ckecli etcd root-issue)
echo "$CERT" | jq -r .ca_certificate > /tmp/etcd-ca.crt
echo "$CERT" | jq -r .certificate > /tmp/etcd-root.crt
echo "$CERT" | jq -r .private_key > /tmp/etcd-root.key
export ETCDCTL_CACERT=/tmp/etcd-ca.crt ETCDCTL_CERT=/tmp/etcd-root.crt ETCDCTL_KEY=/tmp/etcd-root.key
etcdctl --endpoints=127.0.0.1:2379 member list
ckecli etcd user-add app /app/
CERT=$(ckecli etcd issue -ttl=24h -output=json app)
echo "$CERT" | jq -r .ca_certificate > etcd-ca.crt; echo "$CERT" | jq -r .certificate > app.crt; echo "$CERT" | jq -r .private_key > app.key
ckecli etcd local-backup --dir ./backups
`

// TestTranscript types it word for word against `cke dev`, and then takes the
// cluster down and up again.
func TestTranscript(t *testing.T) {
	t.Parallel()
	outer := newEnv(t)
	e := outer.at(filepath.Join(outer.Dir, ".cke"))
	dev := func(verb string) string {
		t.Helper()
		r := outer.Run("cke", "dev", "--dir", e.Dir, "--first-address", e.addr(1), verb)
		if r.Code != 0 {
			t.Fatalf("cke dev %s: exit %d\n%s%s", verb, r.Code, r.Stdout, r.Stderr)
		}
		return r.Stdout
	}
	t.Cleanup(func() { dev("forget") })
	e.Says("up", dev("up"), "The cluster is healthy: 3 members", ". "+e.Dir+"/env")

	began := time.Now()
	work, members := typeTranscript(e, transcript)
	e.Says("member list", members, e.addr(1), e.addr(2), e.addr(3), "started")
	checkTranscriptCertificates(e, work, began)
	checkTranscriptBackup(e, work)

	e.Says("up again", dev("up"), "cke runs already (pid ")
	before := e.Status().ClusterID
	e.Says("down", dev("down"), "cke stopped", "member on cp1 stopped", "member on cp2 stopped", "member on cp3 stopped")
	if left := e.members(); len(left) > 0 {
		t.Errorf("after down these members run: %v", left)
	}
	e.Says("down again", dev("down"), "cke does not run")
	dev("up")
	if after := e.Status().ClusterID; after != before || after == 0 {
		t.Errorf("the cluster is %s after down and up, it was %s", after, before)
	}
	app := etcdctlAs(e, work, "get", "/app/x")
	e.Says("the data is there", app, "/app/x\nwritten as app\n")
	e.Says("forget", dev("forget"), e.Dir+" removed")
	if _, err := os.Stat(e.Dir); !os.IsNotExist(err) {
		t.Errorf("forget left %s: %v", e.Dir, err)
	}
	if left := e.members(); len(left) > 0 {
		t.Errorf("after forget these members run: %v", left)
	}
}

// typeTranscript runs the transcript in a directory of its own, in a shell that
// has sourced the env file and nothing else, and returns it with what was printed.
func typeTranscript(e *env, script string) (dir, printed string) {
	e.t.Helper()
	dir = filepath.Join(e.Dir, "work")
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		e.t.Fatal(err)
	}
	script = strings.ReplaceAll(script, "127.0.0.1", e.addr(1))
	script = strings.ReplaceAll(script, "/tmp/", filepath.Join(dir, "tmp")+"/")
	cmd := exec.Command("bash", "-c", "set -euo pipefail\n. "+filepath.Join(e.Dir, "env")+"\n"+script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir}
	r := e.Finish(cmd)
	if r.Code != 0 {
		e.t.Fatalf("the transcript ends with %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r.Stderr != "" {
		e.t.Errorf("the transcript complains: %s", r.Stderr)
	}
	return dir, r.Stdout
}

// etcdctlAs runs etcdctl with the files the transcript left for the app.
func etcdctlAs(e *env, work string, args ...string) string {
	e.t.Helper()
	file := func(name string) string { return filepath.Join(work, name) }
	all := append([]string{
		"--endpoints=" + e.addr(1) + ":2379", "--cacert=" + file("etcd-ca.crt"), "--cert=" + file("app.crt"), "--key=" + file("app.key"),
	}, args...)
	r := e.Run("etcdctl", all...)
	if r.Code != 0 {
		e.t.Errorf("etcdctl %v: exit %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

func checkTranscriptCertificates(e *env, work string, began time.Time) {
	e.t.Helper()
	root := readCertificate(e, filepath.Join(work, "tmp", "etcd-root.crt"))
	app := readCertificate(e, filepath.Join(work, "app.crt"))
	checkClientCertificate(e, root, "root", 2*time.Hour, began)
	checkClientCertificate(e, app, "app", 24*time.Hour, began)

	for _, user := range []string{"app", "kube-apiserver"} {
		asked := time.Now()
		c := parseCertificate(e, []byte(e.UserCert(user).Certificate))
		checkClientCertificate(e, c, user, 87600*time.Hour, asked)
	}
	ca := readCertificate(e, filepath.Join(work, "etcd-ca.crt"))
	if !ca.IsCA || ca.NotAfter.Before(began.AddDate(29, 0, 0)) {
		e.t.Errorf("ca_certificate: CA %t, not after %s", ca.IsCA, ca.NotAfter)
	}
	if err := app.CheckSignatureFrom(ca); err == nil {
		e.t.Error("ca_certificate is the clients' CA; clients need that of the servers")
	}
	etcdctlAs(e, work, "put", "/app/x", "written as app")
}

// checkClientCertificate compares a certificate with when CKE's own history says
// that it was issued.
func checkClientCertificate(e *env, c *x509.Certificate, user string, ttl time.Duration, notEarlier time.Time) {
	e.t.Helper()
	issued := issueTime(e, user, notEarlier)
	if d := c.NotAfter.Sub(issued) - ttl; d.Abs() > 5*time.Second {
		e.t.Errorf("%s: not after %s is %s off from %s + %s", user, c.NotAfter, d, issued, ttl)
	}
	if back := issued.Sub(c.NotBefore); back < time.Minute || back > 5*time.Minute+time.Second {
		e.t.Errorf("%s: not before is %s before the issue time", user, back)
	}
	if c.Subject.CommonName != user || len(c.DNSNames)+len(c.IPAddresses) != 0 || c.IsCA {
		e.t.Errorf("%s: CN %q, names %v %v, CA %t", user, c.Subject.CommonName, c.DNSNames, c.IPAddresses, c.IsCA)
	}
	if len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || c.KeyUsage != x509.KeyUsageDigitalSignature {
		e.t.Errorf("%s: usages %v %v, want client authentication only", user, c.ExtKeyUsage, c.KeyUsage)
	}
}

// issueTime is when the newest certificate of a user was issued.
func issueTime(e *env, user string, notEarlier time.Time) time.Time {
	e.t.Helper()
	var at time.Time
	for _, r := range drive.Decode[[]record.Record](e.t, e.CLI("history", "-n", "100", "--output", "json")) {
		if strings.HasPrefix(r.Action, "issue a certificate of "+user+" ") {
			at = r.At
		}
	}
	if at.Before(notEarlier.Add(-time.Second)) || at.After(time.Now()) {
		e.t.Fatalf("the history says that the newest certificate of %s is of %s", user, at)
	}
	return at
}

func readCertificate(e *env, path string) *x509.Certificate {
	e.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	return parseCertificate(e, b)
}

func parseCertificate(e *env, text []byte) *x509.Certificate {
	e.t.Helper()
	block, rest := pem.Decode(text)
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		e.t.Fatalf("not exactly one PEM block: %s", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		e.t.Fatal(err)
	}
	return c
}

func checkTranscriptBackup(e *env, work string) {
	e.t.Helper()
	entries, err := filepath.Glob(filepath.Join(work, "backups", "[^.]*"))
	if err != nil || len(entries) != 1 {
		e.t.Fatalf("backups: %v %v", entries, err)
	}
	if !regexp.MustCompile(`/etcd-\d{8}-\d{6}\.backup$`).MatchString(entries[0]) {
		e.t.Errorf("the backup is called %s", entries[0])
	}
	e.wantMode(entries[0], 0o600)
	if r := e.Run("etcdutl", "snapshot", "status", entries[0]); r.Code != 0 {
		e.t.Errorf("etcdutl snapshot status: %s", r.Stderr)
	}
}

// TestDevRefuses: what cke dev cannot do, it says before it starts anything.
func TestDevRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"dev", "--nodes", "0", "up"}, 2, "--nodes takes 1 or more"},
		{[]string{"dev", "--first-address", "10.0.0.1", "up"}, 2, "10.0.0.1 is no loopback address"},
		{[]string{"dev", "--first-address", "127.255.255.255", "up"}, 2, "with room for 3 nodes"},
		{[]string{"dev", "--first-address", "cp1", "up"}, 2, "--first-address"},
		{[]string{"dev", "upp"}, 2, `unknown command "upp"; cke dev knows up, down and forget`},
		{[]string{"dev", "up", "now"}, 2, `unexpected argument "now" after "up"`},
		{[]string{"dev", "--dir", "none", "forget"}, 0, ""},
		{[]string{"dev", "--dir", ".", "--binaries", "/nowhere"}, 1, "find etcd beside cke"},
	} {
		e.Says(fmt.Sprint(c.args), e.daemonFails(c.code, c.args...), c.says)
	}
	// It removes only what it made itself.
	if err := os.MkdirAll(filepath.Join(e.Dir, "mine"), 0o700); err != nil {
		t.Fatal(err)
	}
	e.Says("forget", e.daemonFails(1, "dev", "--dir", "mine", "forget"), "it does not look like a directory of cke dev")
	if _, err := os.Stat(filepath.Join(e.Dir, "mine")); err != nil {
		t.Error(err)
	}
	if _, err := e.Client().Leader(context.Background()); err == nil {
		t.Error("a daemon runs")
	}
}
