package kube

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applyrbac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"sigs.k8s.io/yaml"

	"cke/internal/cluster"
)

// Subject is whom the roles are bound to.
type Subject struct {
	// Kind is ServiceAccount, User or Group; empty: ServiceAccount.
	Kind string
	// Name and Namespace, of a ServiceAccount, are cke and kube-system unless given.
	Name      string
	Namespace string
}

// ManifestOptions say what Manifests is to allow to whom.
type ManifestOptions struct {
	Subject Subject
	Bundles []cluster.Bundle
}

const (
	subjectServiceAccount = "ServiceAccount"
	rbacGroup             = "rbac.authorization.k8s.io"
	roleEndpoints         = "cke-endpoints"
	roleBundles           = "cke-bundles"
)

// Manifests is the least RBAC that CKE needs, as YAML: a Role for the endpoints,
// and one for the Secrets in each namespace that has some. Every rule names its
// objects, also those to create: they are created by patches, which carry a name.
func Manifests(o ManifestOptions) ([]byte, error) {
	s := o.Subject
	s.Kind = cmp.Or(s.Kind, subjectServiceAccount)
	if s.Kind == subjectServiceAccount {
		s.Name, s.Namespace = cmp.Or(s.Name, "cke"), cmp.Or(s.Namespace, namespace)
	}
	if s.Name == "" {
		return nil, fmt.Errorf("print manifests: the %s has no name", s.Kind)
	}
	var all []any
	if s.Kind == subjectServiceAccount {
		all = append(all, applycore.ServiceAccount(s.Name, s.Namespace).WithLabels(labels(nil)))
	}
	all = append(all, roleAndBinding(namespace, roleEndpoints, s, endpointRules()...)...)
	names := map[string][]string{}
	for _, b := range o.Bundles {
		names[b.Namespace] = append(names[b.Namespace], b.Name)
	}
	for _, ns := range sortedKeys(names) {
		all = append(all, roleAndBinding(ns, roleBundles, s, secretRule(names[ns]))...)
	}
	var out bytes.Buffer
	for i, object := range all {
		text, err := yaml.Marshal(object)
		if err != nil {
			return nil, fmt.Errorf("print manifests: %w", err)
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return out.Bytes(), nil
}

// endpointRules: list and watch to see an edit, patch to apply, create for an
// apply to something that is not there, delete for a slice whose family changes.
func endpointRules() []*applyrbac.PolicyRuleApplyConfiguration {
	return []*applyrbac.PolicyRuleApplyConfiguration{
		applyrbac.PolicyRule().WithAPIGroups("").
			WithResources(serviceKind().resource.Resource, endpointsKind().resource.Resource).
			WithResourceNames(objectName).
			WithVerbs("create", "list", "patch", "watch"),
		applyrbac.PolicyRule().WithAPIGroups(sliceKind().resource.Group).
			WithResources(sliceKind().resource.Resource).
			WithResourceNames(objectName, ipv6Name).
			WithVerbs("create", "delete", "list", "patch", "watch"),
	}
}

func secretRule(names []string) *applyrbac.PolicyRuleApplyConfiguration {
	slices.Sort(names)
	return applyrbac.PolicyRule().WithAPIGroups("").
		WithResources(secretKind().resource.Resource).
		WithResourceNames(slices.Compact(names)...).
		WithVerbs("create", "delete", "list", "patch", "watch")
}

func roleAndBinding(ns, name string, s Subject, rules ...*applyrbac.PolicyRuleApplyConfiguration) []any {
	subject := applyrbac.Subject().WithKind(s.Kind).WithName(s.Name)
	if s.Kind == subjectServiceAccount {
		subject.WithNamespace(s.Namespace)
	} else {
		subject.WithAPIGroup(rbacGroup)
	}
	return []any{
		applyrbac.Role(name, ns).WithLabels(labels(nil)).WithRules(rules...),
		applyrbac.RoleBinding(name, ns).WithLabels(labels(nil)).
			WithRoleRef(applyrbac.RoleRef().WithAPIGroup(rbacGroup).WithKind("Role").WithName(name)).
			WithSubjects(subject),
	}
}
