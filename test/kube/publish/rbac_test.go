package publish_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"cke/internal/cluster"
	"cke/internal/kube"
)

// TestTheManifestsAreTheLeast takes each verb of each rule away and sees that
// CKE then says so, naming it. All other tests run with exactly the manifests.
func TestTheManifestsAreTheLeast(t *testing.T) {
	s := kubernetes(t)
	for _, c := range everyGrant(t) {
		if c.resource == "namespaces" {
			continue // TestABundleWhoseNamespaceIsGone
		}
		t.Run(strings.ReplaceAll(c.String(), " ", "-"), func(t *testing.T) {
			s.clean(t)
			s.grant(t, c.without)
			r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
			subject := "endpoints"
			if c.resource == "secrets" {
				subject = "secret shop/etcd"
			}
			r.Want(withBundle(three(), shop()))
			if c.verb == "delete" {
				r.shows(t, subject, "")
				removed := shop()
				removed.Removing = true
				r.Want(withBundle(kube.Export{Cluster: "main", Endpoints: []cluster.Endpoint{member(1, "2001:db8::1")}}, removed))
			}
			f := r.shows(t, subject, "permissionIsMissing")
			if !strings.Contains(f.Text, "let CKE "+c.String()+" in ") || !strings.Contains(f.Hint, "ckecli kubernetes manifests") {
				t.Errorf("condition %+v", f)
			}
			s.grant(t, nil)
			r.shows(t, subject, "")
		})
	}
}

// grant is one verb on one resource.
type grant struct{ verb, resource string }

func (g grant) String() string { return g.verb + " " + g.resource }

func everyGrant(t *testing.T) []grant {
	t.Helper()
	text, err := kube.Manifests(kube.ManifestOptions{
		Subject: kube.Subject{Kind: "User", Name: "cke"}, Cluster: "main", Bundles: []cluster.Bundle{shop()},
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []grant
	for part := range strings.SplitSeq(string(text), "\n---\n") {
		for _, rule := range rules(t, part) {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all = append(all, grant{verb, resource})
				}
			}
			if len(rule.ResourceNames) == 0 {
				t.Errorf("a rule without names: %+v", rule)
			}
		}
	}
	if len(all) != 19 {
		t.Errorf("%d grants: %v", len(all), all)
	}
	return all
}

type rule struct {
	APIGroups, Resources, ResourceNames, Verbs []string
}

func rules(t *testing.T, manifest string) []rule {
	t.Helper()
	var role struct{ Rules []rule }
	if err := yaml.Unmarshal([]byte(manifest), &role); err != nil {
		t.Fatal(err)
	}
	return role.Rules
}

// without takes the grant out of manifests: the rule is split by resource first.
func (g grant) without(manifests string) string {
	form := regexp.MustCompile(`(?s)rules:\n.*$`)
	var out []string
	for part := range strings.SplitSeq(manifests, "\n---\n") {
		var role struct{ Rules []rule }
		if yaml.Unmarshal([]byte(part), &role) == nil && len(role.Rules) > 0 {
			var text strings.Builder
			for _, r := range role.Rules {
				for _, resource := range r.Resources {
					if len(r.Verbs) == 1 && g == (grant{r.Verbs[0], resource}) {
						continue // a rule must have verbs
					}
					fmt.Fprintf(&text, "- {apiGroups: [%q], resources: [%s], resourceNames: [%s], verbs: [", r.APIGroups[0], resource, strings.Join(r.ResourceNames, ", "))
					for _, v := range r.Verbs {
						if (grant{v, resource}) != g {
							text.WriteString(v + ", ")
						}
					}
					text.WriteString("]}\n")
				}
			}
			part = form.ReplaceAllString(part, "rules:\n"+text.String())
		}
		out = append(out, part)
	}
	return strings.Join(out, "\n---\n")
}
