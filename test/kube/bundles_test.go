package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"cke/internal/api"
)

// TestBundles gives an application a Secret and reaches etcd with what is in it,
// as a pod does that mounts it.
func TestBundles(t *testing.T) {
	e := newPublished(t, 4, 1, 2, 3)
	e.CLI("etcd", "user-add", "app", "/app/")
	e.kubectl("create", "namespace", "shop")
	e.CLI("kubernetes", "bundle", "add", "app", "--namespace", "shop", "--name", "etcd")
	e.grant() // the namespace is new to the manifests
	e.well()
	t.Run("its prefix only", func(t *testing.T) { e.in(t).opensItsPrefix() })
	t.Run("certificate", func(t *testing.T) { e.in(t).isShortLived() })
	t.Run("endpoints follow", func(t *testing.T) { e.in(t).followsTheMembers() })
	t.Run("renewed", func(t *testing.T) { e.in(t).isRenewed() })
	t.Run("repaired", func(t *testing.T) { e.in(t).isRepaired() })
	t.Run("not CKE's", func(t *testing.T) { e.in(t).leavesOthersAlone() })
	t.Run("removed with its user", func(t *testing.T) { e.in(t).goesWithItsUser() })
}

// secret is what kubectl says is in shop/etcd.
type secret struct {
	object
	Type string            `json:"type"`
	Data map[string][]byte `json:"data"`
}

func (e *env) secret() (secret, error) {
	var s secret
	out, err := e.Kubectl(e.ctx(), "", "-n", "shop", "get", "secret", "etcd", "-o", "json")
	if err != nil {
		return s, err
	}
	err = json.Unmarshal([]byte(out), &s)
	return s, err
}

func (e *env) mustSecret() secret {
	e.t.Helper()
	s, err := e.secret()
	e.must(err)
	return s
}

// open connects with nothing but the Secret's files.
func (e *env) open(s secret) *clientv3.Client {
	e.t.Helper()
	pair, err := tls.X509KeyPair(s.Data["tls.crt"], s.Data["tls.key"])
	e.must(err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.Data["ca.crt"]) {
		e.t.Fatalf("ca.crt is %q", s.Data["ca.crt"])
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(strings.TrimSpace(string(s.Data["endpoints"])), ","), DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12},
	})
	e.must(err)
	e.t.Cleanup(func() { _ = c.Close() }) // its members may be gone
	return c
}

func (e *env) opensItsPrefix() {
	c := e.open(e.mustSecret())
	_, err := c.Put(e.ctx(), "/app/x", "y")
	e.must(err)
	for _, key := range []string{"/registry/x", "/other", "/"} {
		if _, err := c.Get(e.ctx(), key); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			e.t.Errorf("get %s: %v, want %v", key, err, rpctypes.ErrPermissionDenied)
		}
	}
}

func (s secret) certificate() (*x509.Certificate, error) {
	block, _ := pem.Decode(s.Data["tls.crt"])
	if block == nil {
		return nil, fmt.Errorf("tls.crt is %q", s.Data["tls.crt"])
	}
	return x509.ParseCertificate(block.Bytes)
}

func (e *env) isShortLived() {
	cert, err := e.mustSecret().certificate()
	e.must(err)
	const month = 30 * 24 * time.Hour
	if life := cert.NotAfter.Sub(cert.NotBefore); cert.Subject.CommonName != "app" || life < month || life > month+time.Hour {
		e.t.Errorf("the certificate is %s's and lives %s, want app's and %s", cert.Subject.CommonName, life, month)
	}
}

// followsTheMembers replaces one; the key stays.
func (e *env) followsTheMembers() {
	before := e.mustSecret()
	e.Set(e.yaml(2, 3, 4))
	want := "https://10.77.0.12:2379,https://10.77.0.13:2379,https://10.77.0.14:2379"
	e.Eventually("the endpoints are the members", func() error {
		s, err := e.secret()
		if got := strings.TrimSpace(string(s.Data["endpoints"])); err == nil && got != want {
			err = fmt.Errorf("they are %s", got)
		}
		return err
	})
	if after := e.mustSecret(); string(after.Data["tls.key"]) != string(before.Data["tls.key"]) {
		e.t.Error("the key is another, though only the members changed")
	}
}

// put replaces a certificate in the Secret.
func (e *env) put(c api.Certificate) {
	e.t.Helper()
	patch, err := json.Marshal(map[string]any{"data": map[string][]byte{"tls.crt": []byte(c.Certificate), "tls.key": []byte(c.PrivateKey)}})
	e.must(err)
	e.kubectl("-n", "shop", "patch", "secret", "etcd", "--type=merge", "-p", string(patch))
}

// isRenewed puts a certificate of the user into the Secret that is as good as any
// but for its age.
func (e *env) isRenewed() {
	var old api.Certificate
	e.must(json.Unmarshal([]byte(e.CLI("etcd", "issue", "--ttl", "6s", "app")), &old))
	e.put(old)
	e.Eventually("the certificate is renewed", func() error {
		s, err := e.secret()
		if err == nil && string(s.Data["tls.crt"]) == old.Certificate {
			err = errors.New("it is the old one")
		}
		return err
	})
	e.opensItsPrefix()
	e.isShortLived()
}

// isRepaired spoils the Secret, and then deletes it.
func (e *env) isRepaired() {
	e.put(api.Certificate{Certificate: "spoilt", PrivateKey: "spoilt"})
	e.Eventually("the certificate is good again", func() error {
		s, err := e.secret()
		if err == nil {
			_, err = s.certificate()
		}
		return err
	})
	e.opensItsPrefix()
	e.kubectl("-n", "shop", "delete", "secret", "etcd")
	e.Eventually("the Secret is made again", func() error { _, err := e.secret(); return err })
	e.opensItsPrefix()
}

// leavesOthersAlone asks for a name that somebody else's Secret has.
func (e *env) leavesOthersAlone() {
	e.kubectl("-n", "shop", "create", "secret", "generic", "theirs", "--from-literal=password=x")
	e.CLI("kubernetes", "bundle", "add", "app", "--namespace", "shop", "--name", "theirs")
	e.grant()
	e.condition("secret shop/theirs", "secretIsForeign")
	e.CLI("kubernetes", "bundle", "remove", "shop/theirs")
	e.Eventually("the bundle is forgotten", func() error {
		if list := e.CLI("kubernetes", "bundle", "list"); strings.Contains(list, "theirs") {
			return errors.New(list)
		}
		return nil
	})
	if got := e.kubectl("-n", "shop", "get", "secret", "theirs", "-o", "jsonpath={.data.password}"); got != "eA==" {
		e.t.Errorf("somebody else's Secret has the password %q now", got)
	}
}

func (e *env) goesWithItsUser() {
	c := e.open(e.mustSecret())
	e.CLI("etcd", "user-remove", "app")
	e.Eventually("the Secret is gone", func() error {
		_, err := e.secret()
		if err == nil {
			return errors.New("it is still there")
		}
		if !strings.Contains(err.Error(), "NotFound") {
			return err
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(e.ctx(), 10*time.Second)
	defer cancel()
	if _, err := c.Get(ctx, "/app/x"); err == nil {
		e.t.Error("the removed user's certificate still reads")
	}
	e.well()
}
