package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/record"
)

// keepRecords is how much history a cluster has.
const keepRecords = 1000

// Append stores r as the newest record of r.Cluster and returns it with its
// Seq. Records beyond the newest 1,000 go in the same transaction.
func (s *Store) Append(ctx context.Context, r record.Record) (record.Record, error) {
	err := checkName("cluster", r.Cluster)
	for ok := false; err == nil && !ok; {
		// Not ok without an error: another record took the number.
		ok, err = s.append(ctx, &r)
	}
	if err != nil {
		return record.Record{}, fmt.Errorf("append record of cluster %q: %w", r.Cluster, err)
	}
	return r, nil
}

func (s *Store) append(ctx context.Context, r *record.Record) (bool, error) {
	last, err := s.newest(ctx, r.Cluster, 1)
	if err != nil {
		return false, err
	}
	r.Seq = 1
	if len(last) == 1 {
		r.Seq = last[0].Seq + 1
	}
	key := recordKey(r.Cluster, r.Seq)
	put, err := opPut(key, r)
	if err != nil {
		return false, err
	}
	ops := []clientv3.Op{put}
	if r.Seq > keepRecords {
		ops = append(ops, clientv3.OpDelete(recordKey(r.Cluster, 0),
			clientv3.WithRange(recordKey(r.Cluster, r.Seq-keepRecords+1))))
	}
	_, ok, err := s.change(ctx, []clientv3.Cmp{unchanged(key, 0)}, ops...)
	return ok, err
}

// Amend replaces the record with r's cluster and Seq. ErrNotFound when it is
// not, or no longer, there.
func (s *Store) Amend(ctx context.Context, r record.Record) error {
	key := recordKey(r.Cluster, r.Seq)
	put, err := opPut(key, r)
	if err == nil {
		var ok bool
		if _, ok, err = s.change(ctx, []clientv3.Cmp{exist(key)}, put); err == nil && !ok {
			err = ErrNotFound
		}
	}
	if err != nil {
		return fmt.Errorf("amend record %d of cluster %q: %w", r.Seq, r.Cluster, err)
	}
	return nil
}

// Records returns the newest n records, oldest first.
func (s *Store) Records(ctx context.Context, name string, n int) ([]record.Record, error) {
	if n <= 0 {
		return nil, nil
	}
	records, err := s.newest(ctx, name, n)
	if err != nil {
		return nil, fmt.Errorf("read records of cluster %q: %w", name, err)
	}
	return records, nil
}

func (s *Store) newest(ctx context.Context, name string, n int) ([]record.Record, error) {
	_, ranges, err := s.read(ctx, clientv3.OpGet(recordKeys(name), clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(int64(n))))
	if err != nil {
		return nil, err
	}
	kvs := ranges[0]
	for i, j := 0, len(kvs)-1; i < j; i, j = i+1, j-1 {
		kvs[i], kvs[j] = kvs[j], kvs[i]
	}
	return decodeAll[record.Record](kvs)
}
