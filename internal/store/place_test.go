package store

import (
	"errors"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/seal"
)

// TestEveryKeyBeginsWithThePrefix: a prefix that only ends like the default is no
// other one's place.
func TestEveryKeyBeginsWithThePrefix(t *testing.T) {
	for prefix, keys := range map[string]string{"/cke/": "/cke/", "/a/": "/a/cke/", "/a/cke/": "/a/cke/", "/acke/": "/acke/cke/"} {
		e := newElsewhere(t, prefix)
		lead(t, e.open(t, "a"))
		all, err := e.raw.Get(t.Context(), "/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil || len(all.Kvs) == 0 {
			t.Fatal(all, err)
		}
		for _, kv := range all.Kvs {
			if !strings.HasPrefix(string(kv.Key), keys) {
				t.Errorf("prefix %s: key %s", prefix, kv.Key)
			}
		}
	}
}

// TestAnotherInstallationsStoreIsNotTaken: the same prefix of the same etcd, by
// mistake. Their seal keys tell two installations apart.
func TestAnotherInstallationsStoreIsNotTaken(t *testing.T) {
	e := newElsewhere(t, "/cke/")
	first := e.open(t, "a")
	id := lead(t, first).Epoch()
	other := testOptions(t).Sealer.(*seal.Key)
	_, err := OpenShared(t.Context(), e.link(t), Options{Dir: t.TempDir(), Sealer: other, Hostname: "b"})
	var wrong *SealKeyError
	if !errors.As(err, &wrong) || wrong.Want != e.key.ID() || wrong.Have != other.ID() || !strings.Contains(wrong.Hint(), "another store.prefix") {
		t.Errorf("opened with another key: %v", err)
	}
	if first.Epoch() != id || !first.Leads() {
		t.Errorf("the first leads no more: epoch %d, was %d", first.Epoch(), id)
	}
}
