package cli

import (
	"context"
	"fmt"
	"slices"

	"cke/internal/api"
	"cke/internal/cluster"
)

func (m *memory) RemoveUser(ctx context.Context, name, user string) (r api.UserRemoval, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error {
		i := slices.IndexFunc(c.users, func(u cluster.User) bool { return u.Name == user })
		switch {
		case user == cluster.RootUser:
			return api.Refused("user root is not removed: every cluster has it", "nothing was changed")
		case i < 0:
			return api.NotFound("there is no user "+user, "ckecli etcd user-list")
		}
		c.users = slices.Delete(c.users, i, i+1)
		for k := range c.bundles {
			if b := &c.bundles[k]; b.User == user {
				b.Removing = true
				r.Bundles = append(r.Bundles, b.Key())
			}
		}
		return nil
	})
	return r, err
}

func (m *memory) EtcdConfig(ctx context.Context, name, node string, gateway bool) (e api.EtcdConfig, err error) {
	err = m.with(ctx, name, func(*memoryCluster) error {
		if node != "" && node != "cp1" && node != "cp2" {
			return api.NotFound("there is no node "+node, "ckecli node list")
		}
		e = api.EtcdConfig{
			Endpoints: []string{"https://10.77.0.11:2379", "https://10.77.0.12:2379", "https://[fd00::13]:2379"},
			CAFile:    "/etc/kubernetes/pki/etcd-ca.crt", CertFile: "/etc/kubernetes/pki/apiserver-etcd-client.crt",
			KeyFile: "/etc/kubernetes/pki/apiserver-etcd-client.key", CompactionInterval: "0",
		}
		if e.Gateway = gateway || node == "cp1"; e.Gateway {
			e.Endpoints = []string{"https://127.0.0.1:12379"}
		}
		if node == "cp2" {
			e.Warnings = []string{"the member on cp3 does not serve now and is left out"}
		}
		return nil
	})
	return e, err
}

func (m *memory) Manifests(ctx context.Context, name string, to api.Subject) (text []byte, err error) {
	err = m.with(ctx, name, func(*memoryCluster) error {
		text = fmt.Appendf(nil, "kind: ClusterRole\n# sa=%s user=%s group=%s\n", to.ServiceAccount, to.User, to.Group)
		return nil
	})
	return text, err
}

func (m *memory) Bundles(ctx context.Context, name string) (list []cluster.Bundle, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error { list = slices.Clone(c.bundles); return nil })
	return list, err
}

func (m *memory) AddBundle(ctx context.Context, name string, b cluster.Bundle) (change api.BundleChange, err error) {
	change.Bundle = b
	err = m.with(ctx, name, func(c *memoryCluster) error {
		if err := cluster.ValidateBundle(b); err != nil {
			return api.Invalid(err.Error(), "nothing was changed")
		}
		if !slices.ContainsFunc(c.users, func(u cluster.User) bool { return u.Name == b.User }) {
			return api.NotFound("there is no user "+b.User, "ckecli etcd user-add")
		}
		for _, have := range c.bundles {
			if have == b {
				return nil
			}
			if have.Key() == b.Key() {
				return api.Refused("bundle "+b.Key()+" exists already", "choose another --name")
			}
		}
		if m.mood != "kubernetes" && m.mood != "forbidden" {
			change.Warnings = []string{"cluster.yml has no kubernetes.kubeconfig"}
		}
		c.bundles, change.Changed = append(c.bundles, b), true
		m.wake()
		return nil
	})
	return change, err
}

func (m *memory) RemoveBundle(ctx context.Context, name, namespace, secret string) (change api.BundleChange, err error) {
	err = m.with(ctx, name, func(c *memoryCluster) error {
		for i := range c.bundles {
			if b := &c.bundles[i]; b.Key() == namespace+"/"+secret {
				b.Removing = true
				change = api.BundleChange{Bundle: *b, Changed: true}
				return nil
			}
		}
		return api.NotFound("there is no bundle "+namespace+"/"+secret, "ckecli kubernetes bundle list")
	})
	return change, err
}

// kubernetesOf is what a cluster in this mood tells Kubernetes.
func (m *memory) kubernetesOf(c *memoryCluster) *api.KubernetesStatus {
	if m.mood != "kubernetes" && m.mood != "forbidden" {
		return nil
	}
	k := kubernetesStatus(healthyStatus().Nodes)
	k.Conditions = k.Conditions[:1]
	for _, b := range c.bundles {
		cond := cluster.Condition{Subject: api.SecretSubject(b), OK: true, Since: start()}
		if m.mood == "forbidden" {
			cond = cluster.Condition{
				Subject: cond.Subject, Rule: "accessIsForbidden", Text: "secrets in namespace shop may not be created", Since: start(),
				Hint: "ckecli kubernetes manifests | kubectl apply -f -",
			}
		}
		k.Conditions = append(k.Conditions, cond)
	}
	return k
}

// lead lets everything in but in the mood of a daemon that does not lead.
func (m *memory) lead(ctx context.Context) (context.Context, func(), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mood == "follower" {
		return nil, nil, api.NotLeader("this cke does not lead", "ckecli --server https://other:4433", "https://other:4433")
	}
	return ctx, func() {}, nil
}
