package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// Clusters names the clusters that have a spec, in order.
func (s *Store) Clusters(ctx context.Context) ([]string, error) {
	var names []string
	end := clientv3.GetPrefixRangeEnd(allClusters)
	// Jumps from cluster to cluster: reading all keys would read all records. Whether
	// the one before has a spec is asked along with the next.
	for from, before := allClusters, ""; ; {
		_, ranges, err := s.read(ctx,
			clientv3.OpGet(from, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly()),
			clientv3.OpGet(specKey(before), clientv3.WithKeysOnly()))
		if err != nil {
			return nil, fmt.Errorf("list clusters: %w", err)
		}
		if len(ranges[1]) == 1 {
			names = append(names, before)
		}
		if len(ranges[0]) == 0 {
			return names, nil
		}
		before, _, _ = splitKey(string(ranges[0][0].GetKey()))
		from = clientv3.GetPrefixRangeEnd(clusterKeys(before))
	}
}

// Spec returns the wanted spec and the revision of its last change.
// ErrNotFound when there is no such cluster.
func (s *Store) Spec(ctx context.Context, name string) (cluster.Spec, int64, error) {
	spec, rev, err := getAt[cluster.Spec](ctx, s, specKey(name))
	if err != nil {
		return spec, 0, fmt.Errorf("read spec of cluster %q: %w", name, err)
	}
	return spec, rev, nil
}

// PutSpec stores the spec if it was last changed at ifRevision (0: if there is
// none yet), else ErrConflict. In the same transaction nodes that are gone from
// it become leaving, once the bootstrap has begun, and leaving nodes that are
// back no longer leave; machines that had left and are back are ordinary again. A spec equal to the stored one writes nothing, returns
// the stored one's revision and false, whatever ifRevision is. A hostname that
// moves to another address while its old member is not out: *AddressError.
func (s *Store) PutSpec(ctx context.Context, spec cluster.Spec, ifRevision int64) (rev int64, changed bool, err error) {
	if err := checkName("cluster", spec.Name); err != nil {
		return 0, false, err
	}
	for err == nil && !changed {
		var old stored
		if old, err = s.stored(ctx, spec.Name); err != nil {
			break
		}
		var same bool
		if same, err = old.is(spec); err != nil || same {
			rev = old.Revision
			break
		}
		if old.Revision != ifRevision {
			err = ErrConflict
			break
		}
		// Not changed without an error: the bootstrap or a leaving node went on
		// in between, which is no conflict of this spec.
		rev, changed, err = s.putSpec(ctx, spec, old)
	}
	if err != nil {
		return 0, false, fmt.Errorf("store spec of cluster %q: %w", spec.Name, err)
	}
	return rev, changed, nil
}

func (s *Store) putSpec(ctx context.Context, spec cluster.Spec, old stored) (int64, bool, error) {
	put, err := opPut(specKey(spec.Name), spec)
	if err != nil {
		return 0, false, err
	}
	ops, err := leavingOps(spec, old)
	if err != nil {
		return 0, false, err
	}
	return s.change(ctx, []clientv3.Cmp{
		unchanged(specKey(spec.Name), old.Revision),
		unchanged(bootstrapKey(spec.Name), old.bootstrapRev),
		unchangedSince(leavingKeys(spec.Name), old.at),
		unchangedSince(leftKeys(spec.Name), old.at),
	}, append(append(ops, leftOps(spec, old.Left)...), put)...)
}
