package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"cke/internal/api"
	"cke/internal/cluster"
)

func (m *memory) Trust(ctx context.Context, name, address, fingerprint string) (k api.TrustedKey, err error) {
	err = m.with(ctx, name, func(*memoryCluster) error {
		if fingerprint == "SHA256:wrong" {
			return api.Refused("the host at "+address+" has another key", "compare again")
		}
		k = api.TrustedKey{Node: "cp3", Address: address + ":22", Type: "ED25519", Fingerprint: "SHA256:right"}
		return nil
	})
	return k, err
}

func (m *memory) Claim(ctx context.Context, name, node string) error {
	return m.with(ctx, name, func(*memoryCluster) error {
		if node != "cp1" {
			return api.NotFound("there is no node "+node, "ckecli node list")
		}
		return nil
	})
}

func (m *memory) CheckNodes(ctx context.Context, name, node string) (list []cluster.NodeCheck, err error) {
	all := []cluster.NodeCheck{
		{Node: "cp1", Address: "10.77.0.11", At: start(), Checks: []cluster.Check{
			{Name: "clock", Verdict: cluster.CheckOK, Text: "2ms ahead of cke's (at most 1s)"},
			{Name: "fsync", Verdict: cluster.CheckWarn, Text: "99% of 100 small writes reach the disk within 20ms (at most 100ms, half within 2ms)", Hint: "etcd advises a disk that takes less than 10ms"},
		}},
		{Node: "cp2", Address: "10.77.0.12", At: start(), Checks: []cluster.Check{
			{Name: "host", Verdict: cluster.CheckFail, Text: "the host cannot be asked: i/o timeout"},
		}},
	}
	err = m.with(ctx, name, func(*memoryCluster) error {
		for _, n := range all {
			if node == "" || node == string(n.Node) {
				list = append(list, n)
			}
		}
		if list == nil {
			return api.NotFound("there is no node "+node, "ckecli node list")
		}
		return nil
	})
	return list, err
}

func (m *memory) CleanNode(ctx context.Context, name, node string, forget bool) error {
	return m.with(ctx, name, func(c *memoryCluster) error {
		switch {
		case node == "cp1" || node == "cp4" && forget:
			return api.Refused("node "+node+" is not cleaned: it carries member 8e9e05c52164694d", "take it out of cluster.yml first")
		case node != "old":
			return api.NotFound("there is no node "+node, "ckecli node list")
		}
		c.cleaned = true
		return nil
	})
}

// Logs ends after the lines there are, on purpose, also when it is followed.
func (m *memory) Logs(ctx context.Context, name, node string, n int, follow bool) (r io.ReadCloser, err error) {
	err = m.with(ctx, name, func(*memoryCluster) error {
		if node != "cp1" {
			return api.NotFound("there is no node "+node, "ckecli node list")
		}
		text := ""
		for i := 3 - min(n, 3); i < 3; i++ {
			text += fmt.Sprintf("etcd says %d\n", i)
		}
		if follow {
			text += "etcd says more\n"
		}
		r = io.NopCloser(strings.NewReader(text))
		return nil
	})
	return r, err
}
