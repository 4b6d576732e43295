package api

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cke/internal/cluster"
)

// heard is a backend that keeps what the calls about Kubernetes carried.
type heard struct {
	Backend
	bundle  cluster.Bundle
	subject Subject
	words   []string
}

func (h *heard) AddBundle(_ context.Context, _ string, b cluster.Bundle) (BundleChange, error) {
	h.bundle = b
	return BundleChange{Bundle: b, Changed: true, Warnings: []string{"mind"}}, nil
}

func (h *heard) RemoveBundle(_ context.Context, name, namespace, secret string) (BundleChange, error) {
	h.words = []string{name, namespace, secret}
	return BundleChange{}, nil
}

func (h *heard) RemoveUser(_ context.Context, name, user string) (UserRemoval, error) {
	h.words = []string{name, user}
	return UserRemoval{Bundles: []string{"shop/etcd"}}, nil
}

func (h *heard) Manifests(_ context.Context, name string, to Subject) ([]byte, error) {
	h.words, h.subject = []string{name}, to
	return []byte("kind: Role\n---\nkind: RoleBinding\n"), nil
}

func (h *heard) EtcdConfig(_ context.Context, name, node string, gateway bool) (EtcdConfig, error) {
	h.words = []string{name, node}
	return EtcdConfig{Gateway: gateway}, nil
}

func TestWhatIsLeftOutOfABundleIsFilledIn(t *testing.T) {
	h := &heard{}
	_, client := serve(t, h)
	for body, want := range map[string]cluster.Bundle{
		`{"user":"App.1","namespace":"shop"}`:                              {User: "App.1", Namespace: "shop", Name: "etcd-app-1", TTL: cluster.DefaultBundleTTL},
		`{"user":"app","namespace":"shop","name":"x","ttl":"7d"}`:          {User: "app", Namespace: "shop", Name: "x", TTL: 7 * cluster.DefaultBundleTTL / 30},
		`{"user":"app","namespace":"shop","name":"x","ttl":"1h"}`:          {User: "app", Namespace: "shop", Name: "x", TTL: cluster.MinBundleTTL},
		`{"user":"app","namespace":"shop","name":"x","ttl":"0s"}`:          {User: "app", Namespace: "shop", Name: "x"}, // for the backend to refuse
		`{"user":"app","namespace":"shop","removing":true}`:                {},
		`{"user":"","namespace":"shop"}`:                                   {},
		`{"user":"app"}`:                                                   {},
		`{"user":"app","namespace":"shop","name":"x","ttl":"thirty days"}`: {},
	} {
		h.bundle = cluster.Bundle{}
		resp, text := raw(t, client, "POST", "/v1/clusters/main/kubernetes/bundles", "application/json", body)
		if h.bundle != want || (resp.StatusCode == 200) != (want != cluster.Bundle{}) {
			t.Errorf("%s: %s %s, the backend got %+v", body, resp.Status, text, h.bundle)
		}
	}
	b := cluster.Bundle{User: "app", Namespace: "shop", Name: "x", TTL: cluster.MinBundleTTL}
	change, err := client.AddBundle(t.Context(), "main", b)
	if diff := cmp.Diff(BundleChange{Bundle: b, Changed: true, Warnings: []string{"mind"}}, change); diff != "" || err != nil || h.bundle != b {
		t.Errorf("%v: %s", err, diff)
	}
}

// Names come through as they are, whatever is in them.
func TestNamesOfUsersAndSecretsComeThrough(t *testing.T) {
	h := &heard{}
	_, client := serve(t, h)
	ctx := t.Context()
	for _, name := range []string{"app", "a@b:c", "a/b", "a%2Fb", "ä ö?#&"} {
		got, err := client.RemoveUser(ctx, "main", name)
		if diff := cmp.Diff([]string{"main", name}, h.words); diff != "" || err != nil || len(got.Bundles) != 1 {
			t.Errorf("remove user %q: %v %v %s", name, got, err, diff)
		}
		_, err = client.RemoveBundle(ctx, "main", name, "x")
		if diff := cmp.Diff([]string{"main", name, "x"}, h.words); diff != "" || err != nil {
			t.Errorf("remove bundle %q: %v %s", name, err, diff)
		}
		text, err := client.Manifests(ctx, "main", Subject{User: name})
		if err != nil || h.subject != (Subject{User: name}) || string(text) != "kind: Role\n---\nkind: RoleBinding\n" {
			t.Errorf("manifests for %q: %v %+v %s", name, err, h.subject, text)
		}
		for _, gateway := range []bool{false, true} {
			e, err := client.EtcdConfig(ctx, "main", name, gateway)
			if err != nil || e.Gateway != gateway || h.words[1] != name {
				t.Errorf("etcd-config of %q: %v %v %q", name, err, e, h.words)
			}
		}
	}
}
