package app

import (
	"context"
	"fmt"
	"strings"

	"cke/internal/api"
	"cke/internal/kube"
)

// Manifests name what there is now: the namespaces and names of all bundles, those
// that are on their way out too.
func (b backend) Manifests(ctx context.Context, name string, to api.Subject) ([]byte, error) {
	subject, err := boundTo(to)
	if err != nil {
		return nil, err
	}
	bundles, err := b.Bundles(ctx, name)
	if err != nil {
		return nil, err
	}
	return kube.Manifests(kube.ManifestOptions{Subject: subject, Cluster: name, Bundles: bundles})
}

func boundTo(to api.Subject) (kube.Subject, error) {
	var all []kube.Subject
	if to.ServiceAccount != "" {
		namespace, account, ok := strings.Cut(to.ServiceAccount, "/")
		if !ok || namespace == "" || account == "" || strings.Contains(account, "/") {
			return kube.Subject{}, api.Invalid(fmt.Sprintf("service account %q is not NAMESPACE/NAME", to.ServiceAccount), "")
		}
		all = append(all, kube.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: account})
	}
	if to.User != "" {
		all = append(all, kube.Subject{Kind: "User", Name: to.User})
	}
	if to.Group != "" {
		all = append(all, kube.Subject{Kind: "Group", Name: to.Group})
	}
	switch len(all) {
	case 0:
		return kube.Subject{}, nil
	case 1:
		return all[0], nil
	default:
		return kube.Subject{}, api.Invalid("CKE comes as one: a service account, a user or a group", "")
	}
}
