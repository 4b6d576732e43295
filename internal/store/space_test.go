package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestStoreAtItsQuotaIsWritableAfterTheNextOpen fills a store with old
// revisions, which compaction frees, until etcd refuses to write.
func TestStoreAtItsQuotaIsWritableAfterTheNextOpen(t *testing.T) {
	o := testOptions(t)
	o.quota = 8 << 20
	s := open(t, o)
	put(t, s, spec("main", 1))
	value := strings.Repeat("x", 1<<20)
	// etcd compares the quota with the size of its last batch written to disk,
	// so how many puts it takes depends on the disk.
	eventually(t, "refusing for lack of space", func() bool {
		_, err := s.client.Put(t.Context(), root+"filler", value)
		return errors.Is(err, rpctypes.ErrNoSpace)
	})
	if _, err := s.Append(t.Context(), testRecord("main", "x")); err == nil {
		t.Fatal("a store at its quota took a record")
	}
	raw(t, s, clientv3.OpDelete(root+"filler"))
	closeStore(t, s)
	s = open(t, o)
	add(t, s, "main", "again")
	var b bytes.Buffer
	if err := s.Backup(t.Context(), &b); err != nil || b.Len() > 1<<20 {
		t.Errorf("the backup has %d bytes, %v", b.Len(), err)
	}
}
