package kube

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// Cluster is whose bundles they are: another may have some in the same Kubernetes,
	// even in the same namespace, and each has roles of its own.
	Cluster string
	Bundles []cluster.Bundle
}

const (
	subjectServiceAccount = "ServiceAccount"
	roleEndpoints         = "cke-endpoints"
	roleBundles           = "cke-bundles-"           // and the cluster
	roleNamespaces        = "cke-bundle-namespaces-" // likewise
)

// Manifests is the least RBAC that CKE needs, as YAML: a Role for the endpoints,
// one for the Secrets in each namespace that has some, and to see whether those
// namespaces are there, a ClusterRole, for a Role goes with its namespace. Every
// rule names its objects, also those to create: they are created by patches, which
// carry a name.
func Manifests(o ManifestOptions) ([]byte, error) {
	s := o.Subject
	s.Kind = cmp.Or(s.Kind, subjectServiceAccount)
	if s.Kind == subjectServiceAccount {
		s.Name, s.Namespace = cmp.Or(s.Name, "cke"), cmp.Or(s.Namespace, namespace)
	}
	if s.Name == "" {
		return nil, fmt.Errorf("print manifests: the %s has no name", s.Kind)
	}
	if o.Cluster == "" && len(o.Bundles) > 0 {
		return nil, errors.New("print manifests: the cluster of the bundles has no name")
	}
	var all []any
	if s.Kind == subjectServiceAccount {
		all = append(all, corev1.ServiceAccount{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: subjectServiceAccount},
			ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, Labels: labels(nil)},
		})
	}
	all = append(all, roleAndBinding(namespace, roleEndpoints, s, endpointRules()...)...)
	names := map[string][]string{}
	for _, b := range o.Bundles {
		names[b.Namespace] = append(names[b.Namespace], b.Name)
	}
	for _, ns := range sortedKeys(names) {
		all = append(all, roleAndBinding(ns, roleBundles+o.Cluster, s, secretRule(names[ns]))...)
	}
	if len(names) > 0 {
		all = append(all, clusterRoleAndBinding(roleNamespaces+o.Cluster, s, namespaceRule(sortedKeys(names)))...)
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
func endpointRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{
			APIGroups: []string{""}, Resources: []string{serviceKind().resource.Resource, endpointsKind().resource.Resource},
			ResourceNames: []string{objectName}, Verbs: []string{"create", "list", "patch", "watch"},
		}, {
			APIGroups: []string{sliceKind().resource.Group}, Resources: []string{sliceKind().resource.Resource},
			ResourceNames: []string{objectName, ipv6Name}, Verbs: []string{"create", "delete", "list", "patch", "watch"},
		},
	}
}

func secretRule(names []string) rbacv1.PolicyRule {
	slices.Sort(names)
	return rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{secretKind().resource.Resource},
		ResourceNames: slices.Compact(names), Verbs: []string{"create", "delete", "list", "patch", "watch"},
	}
}

func namespaceRule(names []string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{namespaces().Resource},
		ResourceNames: names, Verbs: []string{"get"},
	}
}

// inRBAC is a subject as bindings name it.
func (s Subject) inRBAC() rbacv1.Subject {
	if s.Kind == subjectServiceAccount {
		return rbacv1.Subject{Kind: s.Kind, Name: s.Name, Namespace: s.Namespace}
	}
	return rbacv1.Subject{Kind: s.Kind, Name: s.Name, APIGroup: rbacv1.GroupName}
}

func inRBAC(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}

func roleAndBinding(ns, name string, s Subject, rules ...rbacv1.PolicyRule) []any {
	meta := metav1.ObjectMeta{Name: name, Namespace: ns, Labels: labels(nil)}
	return []any{
		rbacv1.Role{TypeMeta: inRBAC("Role"), ObjectMeta: meta, Rules: rules},
		rbacv1.RoleBinding{
			TypeMeta: inRBAC("RoleBinding"), ObjectMeta: meta,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{s.inRBAC()},
		},
	}
}

func clusterRoleAndBinding(name string, s Subject, rules ...rbacv1.PolicyRule) []any {
	meta := metav1.ObjectMeta{Name: name, Labels: labels(nil)}
	return []any{
		rbacv1.ClusterRole{TypeMeta: inRBAC("ClusterRole"), ObjectMeta: meta, Rules: rules},
		rbacv1.ClusterRoleBinding{
			TypeMeta: inRBAC("ClusterRoleBinding"), ObjectMeta: meta,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects: []rbacv1.Subject{s.inRBAC()},
		},
	}
}
