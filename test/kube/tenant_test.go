package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"cke/test/drive"
)

// TestAPIServerIsATenant runs an API server with /registry/ and nothing else.
func TestAPIServerIsATenant(t *testing.T) {
	e := newEnv(t, 3, onBox)
	e.etcd = ", compaction_retention: 10s"
	e.found(1, 2, 3)
	s := e.serve(1, 2, 3)
	t.Run("keys of others", func(t *testing.T) { e.in(t).keepsToItsPrefix() })
	t.Run("the database does not grow", func(t *testing.T) { e.in(t).doesNotGrow() })
	log, err := os.ReadFile(s.Log)
	e.must(err)
	for _, complaint := range []string{"compact_rev_key", "ermission denied", "PermissionDenied"} {
		if n := strings.Count(string(log), complaint); n > 0 {
			t.Errorf("the API server complains %d times of %q", n, complaint)
		}
	}
}

// keepsToItsPrefix tries with the API server's own certificate what it must not
// have, and looks at where its keys are.
func (e *env) keepsToItsPrefix() {
	t, ctx := e.t, e.ctx()
	e.CLI("etcd", "user-add", "app", "/app/")
	_, err := e.Connect(e.UserCert("app"), e.addrs(1, 2, 3)...).Put(ctx, "/app/secret", "its own")
	e.must(err)
	e.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: mine, namespace: default}, data: {a: b}}", "apply", "-f", "-")

	own := e.Connect(e.UserCert("kube-apiserver"), e.addrs(1, 2, 3)...)
	got, err := own.Get(ctx, "/registry/configmaps/default/mine")
	e.must(err)
	if len(got.Kvs) != 1 {
		t.Errorf("the ConfigMap is %d keys in etcd, want 1", len(got.Kvs))
	}
	for what, try := range map[string]func() error{
		"reads another's key":      func() error { _, err := own.Get(ctx, "/app/secret"); return err },
		"reads everything":         func() error { _, err := own.Get(ctx, "", clientv3.WithPrefix()); return err },
		"writes another's key":     func() error { _, err := own.Put(ctx, "/app/secret", "x"); return err },
		"deletes another's key":    func() error { _, err := own.Delete(ctx, "/app/secret"); return err },
		"writes compact_rev_key":   func() error { _, err := own.Put(ctx, "compact_rev_key", "1"); return err },
		"compacts":                 func() error { _, err := own.Compact(ctx, got.Header.Revision); return err },
		"lists users":              func() error { _, err := own.UserList(ctx); return err },
		"reads a role":             func() error { _, err := own.RoleGet(ctx, "app"); return err },
		"turns authentication off": func() error { _, err := own.AuthDisable(ctx); return err },
		"adds a member": func() error {
			_, err := own.MemberAddAsLearner(ctx, []string{"https://10.77.0.99:2380"})
			return err
		},
	} {
		if err := try(); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("the API server's certificate %s: %v, want %v", what, err, rpctypes.ErrPermissionDenied)
		}
	}

	root := e.Connect(e.RootCert(), e.addrs(1, 2, 3)...)
	user, err := root.UserGet(ctx, "kube-apiserver")
	e.must(err)
	if slices.Contains(user.Roles, "root") {
		t.Errorf("kube-apiserver has the roles %v", user.Roles)
	}
	all, err := root.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	e.must(err)
	for _, kv := range all.Kvs {
		if key := string(kv.Key); !strings.HasPrefix(key, "/registry/") && key != "/app/secret" {
			t.Errorf("there is a key %q", key)
		}
	}
}

// doesNotGrow updates Leases: what etcd keeps of 100,000 updates, once it has
// compacted them, is no more than half more than what it keeps of 10,000.
func (e *env) doesNotGrow() {
	t := e.t
	root := e.Connect(e.RootCert(), e.addrs(1, 2, 3)...)
	leases := e.makeLeases(200)
	began := time.Now()
	e.update(leases, 10_000)
	few := e.inUseOnceCompacted(root)
	between := time.Now()
	e.update(leases, 90_000)
	took := time.Since(between)
	many := e.inUseOnceCompacted(root)
	t.Logf("in use after 10,000 updates: %d, after 100,000: %d (%.0f updates/s; all in %s)", few, many, 90_000/took.Seconds(), time.Since(began).Round(time.Second))
	if float64(many) > 1.5*float64(few) {
		t.Errorf("in use after 100,000 updates: %d bytes, more than 1.5 × the %d after 10,000", many, few)
	}
}

const leasePath = "/apis/coordination.k8s.io/v1/namespaces/default/leases"

type metadata struct {
	Name            string `json:"name"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

type lease struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       struct {
		HolderIdentity       string `json:"holderIdentity"`
		LeaseDurationSeconds int    `json:"leaseDurationSeconds"`
		RenewTime            string `json:"renewTime"`
	} `json:"spec"`
}

func (e *env) makeLeases(n int) []lease {
	e.t.Helper()
	leases := make([]lease, n)
	for i := range leases {
		l := &leases[i]
		l.APIVersion, l.Kind, l.Metadata.Name = "coordination.k8s.io/v1", "Lease", fmt.Sprintf("node-%d", i)
		l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = l.Metadata.Name, 40
		l.Spec.RenewTime = time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
		e.must(e.client.Create(e.ctx(), leasePath, l, l))
	}
	return leases
}

// update renews Leases, each by a holder of its own, so many times in all.
func (e *env) update(leases []lease, times int) {
	e.t.Helper()
	// As long as it takes, which is for the machine to say; only a request that
	// hangs is given up.
	g, ctx := errgroup.WithContext(e.t.Context())
	for i := range leases {
		g.Go(func() error {
			l := &leases[i]
			for range times / len(leases) {
				l.Spec.RenewTime = time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
				one, cancel := context.WithTimeout(ctx, drive.Patience)
				err := e.client.Put(one, leasePath+"/"+l.Metadata.Name, l, l)
				if cancel(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	e.must(g.Wait())
}

// inUseOnceCompacted waits until etcd has compacted all that was written so far,
// and until every member has removed it. It returns the largest member's size.
func (e *env) inUseOnceCompacted(root *clientv3.Client) int64 {
	e.t.Helper()
	now, err := root.Get(e.ctx(), "/registry/")
	e.must(err)
	e.Eventually("etcd compacts what was written", func() error {
		_, err := root.Get(e.ctx(), "/registry/", clientv3.WithRev(now.Header.Revision))
		if errors.Is(err, rpctypes.ErrCompacted) {
			return nil
		}
		return fmt.Errorf("revision %d is still there: %w", now.Header.Revision, err)
	})
	var size int64
	still, looks := time.Now(), 0
	e.Eventually("the size comes to rest", func() error {
		// A member counts the pages that a compaction has freed at its next write.
		_, err := root.Put(e.ctx(), "/app/secret", "seen by nobody")
		e.must(err)
		if s := e.inUse(root); s > size+atRest || s < size-atRest {
			size, still, looks = s, time.Now(), 0
		}
		looks++ // and not only time: the machine may stand still, and nothing be removed
		if time.Since(still) < time.Second || looks < 20 {
			return fmt.Errorf("it is %d now", size)
		}
		return nil
	})
	return size
}

// atRest is what the size may change by, in bytes, while nothing is done but to look.
const atRest = 64 << 10

func (e *env) inUse(root *clientv3.Client) int64 {
	e.t.Helper()
	ctx := e.ctx()
	var size int64
	for _, ep := range root.Endpoints() {
		s, err := root.Status(ctx, ep)
		e.must(err)
		size = max(size, s.DbSizeInUse)
	}
	return size
}

// file is one that ckecli wrote in the installation's directory.
func (e *env) file(name string) string { return filepath.Join(e.Installation.Dir, name) }
