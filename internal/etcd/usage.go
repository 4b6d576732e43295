package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

const (
	usageTimeout = 20 * time.Second
	// usageParts bounds how many parts of a prefix are asked for.
	usageParts = 60
	// usageSample is how many keys of a part are read with their values.
	usageSample = 20
	// usageAhead is how many keys are looked at to see where a part begins.
	usageAhead = 100
)

// Usage estimates what lies under each of these prefixes, which do not overlap,
// and beside them, largest first. A prefix with keys one level further down, as all of
// kube-apiserver's are, is told apart there. Keys are counted; their size is taken from
// a few of each part.
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
	first := cmp.Or(prefix, "\x00") // etcd takes no empty key
	u, err := m.between(ctx, first, clientv3.GetPrefixRangeEnd(prefix))
	u.Prefix = prefix
	return u, err
}

func (m measure) between(ctx context.Context, from, end string) (u cluster.PrefixUsage, err error) {
	r, err := m.conn.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(usageSample), clientv3.WithSerializable())
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

// apart is a prefix's parts one level down, and under its own name what lies right
// below it; the prefix as a whole where that is too much to ask for.
func (m measure) apart(ctx context.Context, prefix string) (parts []cluster.PrefixUsage, whole cluster.PrefixUsage, err error) {
	if whole, err = m.part(ctx, prefix); err != nil || whole.Keys == 0 {
		return nil, whole, err
	}
	own := cluster.PrefixUsage{Prefix: prefix}
	end := clientv3.GetPrefixRangeEnd(prefix)
	from := prefix
	for range usageParts {
		r, err := m.conn.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(usageAhead), clientv3.WithKeysOnly(), clientv3.WithSerializable())
		if err != nil {
			return nil, whole, err
		}
		if len(r.Kvs) == 0 {
			if own.Keys > 0 {
				parts = append(parts, own)
			}
			return parts, whole, nil
		}
		below, _, deeper := strings.Cut(strings.TrimPrefix(string(r.Kvs[0].Key), prefix), "/")
		if deeper {
			from = clientv3.GetPrefixRangeEnd(prefix + below + "/")
			u, err := m.part(ctx, prefix+below+"/")
			if err != nil {
				return nil, whole, err
			}
			parts = append(parts, u)
			continue
		}
		next := behind(prefix, r.Kvs)
		u, err := m.between(ctx, from, next)
		if err != nil {
			return nil, whole, err
		}
		own.Keys, own.Bytes = own.Keys+u.Keys, own.Bytes+u.Bytes
		from = next
	}
	return []cluster.PrefixUsage{whole}, whole, nil
}

// behind is where the keys right below a prefix, with which these begin, are taken to
// end: at the first that lies deeper, or, where they are too many to see that, at the
// next letter.
func behind(prefix string, keys []*mvccpb.KeyValue) string {
	for _, kv := range keys {
		if strings.Contains(strings.TrimPrefix(string(kv.Key), prefix), "/") {
			return string(kv.Key)
		}
	}
	below := strings.TrimPrefix(string(keys[0].Key), prefix)
	if below == "" { // a key that is the prefix itself
		return prefix + "\x00"
	}
	return clientv3.GetPrefixRangeEnd(prefix + below[:1])
}
