package reconcile

import (
	"context"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

// No test here fills a database.

func (e fakeEtcd) Usage(context.Context, etcd.Endpoint, []string) ([]cluster.PrefixUsage, error) {
	return nil, nil
}
func (e fakeEtcd) Compact(context.Context, etcd.Endpoint, int64) error { return nil }
func (e fakeEtcd) Defragment(context.Context, etcd.Endpoint) error     { return nil }
func (e fakeEtcd) Disarm(context.Context, etcd.Endpoint, string) error { return nil }

func (e fakeEtcd) Hashes(context.Context, []cluster.Member, []cluster.Node) []cluster.MemberHash {
	return nil
}

func (s fakeStore) ForgetDefrag(context.Context, string, cluster.NodeName) error { return nil }
