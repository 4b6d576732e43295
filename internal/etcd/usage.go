package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

const (
	usageTimeout = 20 * time.Second
	// usageParts bounds how many parts a prefix is told apart into.
	usageParts = 60
	// usageSample is how many keys of a part are read with their values.
	usageSample = 20
)

// Usage estimates what lies under each of these prefixes, which do not overlap,
// and beside them, largest first. A prefix whose keys are all one level further
// down, as kube-apiserver's are, is told apart there. Keys are counted; their
// size is taken from a few of each part.
func (c *Client) Usage(ctx context.Context, ep Endpoint, prefixes []string) ([]cluster.PrefixUsage, error) {
	ctx, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()
	conn, err := c.conn(string(ep))
	if err != nil {
		return nil, err
	}
	m := measure{conn}
	all, err := m.part(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("measure the keys of %s: %w", ep, err)
	}
	var parts []cluster.PrefixUsage
	rest := all
	for _, prefix := range prefixes {
		of, whole, err := m.apart(ctx, prefix)
		if err != nil {
			return nil, fmt.Errorf("measure %s of %s: %w", prefix, ep, err)
		}
		parts = append(parts, of...)
		rest.Keys -= whole.Keys
	}
	if rest.Keys > 0 {
		rest.Bytes = all.Bytes / all.Keys * rest.Keys
		parts = append(parts, rest)
	}
	slices.SortFunc(parts, func(a, b cluster.PrefixUsage) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Prefix, b.Prefix))
	})
	return parts, nil
}

type measure struct{ conn *clientv3.Client }

// part counts what begins with a prefix and sizes it by its first keys.
func (m measure) part(ctx context.Context, prefix string) (cluster.PrefixUsage, error) {
	u := cluster.PrefixUsage{Prefix: prefix}
	r, err := m.conn.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(usageSample), clientv3.WithSerializable())
	if err != nil || len(r.Kvs) == 0 {
		return u, err
	}
	size := 0
	for _, kv := range r.Kvs {
		size += len(kv.Key) + len(kv.Value)
	}
	u.Keys = r.Count
	u.Bytes = int64(size) / int64(len(r.Kvs)) * r.Count
	return u, nil
}

// apart is a prefix's parts one level down; the prefix itself where keys lie right
// below it, or there are too many parts.
func (m measure) apart(ctx context.Context, prefix string) (parts []cluster.PrefixUsage, whole cluster.PrefixUsage, err error) {
	if whole, err = m.part(ctx, prefix); err != nil || whole.Keys == 0 {
		return nil, whole, err
	}
	end := clientv3.GetPrefixRangeEnd(prefix)
	for from := prefix; ; {
		r, err := m.conn.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly(), clientv3.WithSerializable())
		if err != nil {
			return nil, whole, err
		}
		if len(r.Kvs) == 0 {
			return parts, whole, nil
		}
		below, _, deeper := strings.Cut(strings.TrimPrefix(string(r.Kvs[0].Key), prefix), "/")
		if !deeper || len(parts) == usageParts {
			return []cluster.PrefixUsage{whole}, whole, nil
		}
		u, err := m.part(ctx, prefix+below+"/")
		if err != nil {
			return nil, whole, err
		}
		parts = append(parts, u)
		from = clientv3.GetPrefixRangeEnd(prefix + below + "/")
	}
}
