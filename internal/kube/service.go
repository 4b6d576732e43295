package kube

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// body is an apply configuration as it goes over the wire: nothing in it but
// what CKE owns.
type body map[string]any

// labels are on every object, beside labels of its own.
func labels(more map[string]string) map[string]string {
	l := map[string]string{labelManagedBy: manager}
	maps.Copy(l, more)
	return l
}

// meta is an object's metadata, with the marks that say whose it is.
func (k key) meta(clusterName string, more map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: k.name, Namespace: k.namespace, Labels: labels(more),
		Annotations: map[string]string{annotationCluster: clusterName},
	}
}

// wire turns an object into its body. The types of k8s.io/api leave out what is
// not set, all but a status; client-go's apply configurations say the same and
// bring every API group there is, 20 MB, into the program.
func (k key) wire(object any) (body, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", k, err)
	}
	delete(m, "status")
	m["apiVersion"], m["kind"] = k.kind.resource.GroupVersion().String(), k.kind.name
	return m, nil
}

// serviceBody is a headless Service without a selector: its endpoints are CKE's
// to say.
func serviceBody(clusterName string) (body, error) {
	k := serviceKey()
	return k.wire(&corev1.Service{
		ObjectMeta: k.meta(clusterName, nil),
		Spec: corev1.ServiceSpec{
			Type:      corev1.ServiceTypeClusterIP,
			ClusterIP: corev1.ClusterIPNone,
			Ports: []corev1.ServicePort{{
				Name: portName, Port: clientPort, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(clientPort),
			}},
		},
	})
}

// serviceFaults are what CKE cannot mend in the Service, because it does not own
// it.
func serviceFaults(live *unstructured.Unstructured) []fault {
	if live == nil {
		return nil
	}
	selector, _, err := unstructured.NestedStringMap(live.Object, "spec", "selector")
	if err != nil || len(selector) == 0 {
		return nil
	}
	return []fault{{
		rule: ruleServiceHasSelector,
		text: fmt.Sprintf("%s has a selector, so that Kubernetes overwrites its endpoints", serviceKey()),
		hint: fmt.Sprintf("kubectl -n %s patch service %s --type=json -p '[{\"op\":\"remove\",\"path\":\"/spec/selector\"}]'", namespace, objectName),
	}}
}

// mendedPorts are a Service's ports without those that have the name of CKE's
// and another number: they are other entries of the list, which an apply cannot
// take away, and two ports cannot have one name. nil when there are none.
func mendedPorts(live *unstructured.Unstructured, want body) body {
	if live == nil {
		return nil
	}
	ours := objectsIn(want["spec"].(map[string]any)["ports"])[0]
	spec, _ := live.Object["spec"].(map[string]any) // a wrong type has no ports
	clash := false
	ports := []any{ours}
	for _, p := range objectsIn(spec["ports"]) {
		switch {
		case p["port"] == ours["port"] && p["protocol"] == ours["protocol"]:
		case p["name"] == ours["name"]:
			clash = true
		default:
			ports = append(ports, p)
		}
	}
	if !clash {
		return nil
	}
	return body{"spec": map[string]any{"ports": ports}}
}
