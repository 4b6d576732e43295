package kube

import (
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// body is an apply configuration as it goes over the wire: nothing in it but
// what CKE owns.
type body map[string]any

// marks are on every object of a cluster, beside labels of its own.
func labels(more map[string]string) map[string]string {
	l := map[string]string{labelManagedBy: manager}
	maps.Copy(l, more)
	return l
}

func annotations(cluster string) map[string]string {
	return map[string]string{annotationCluster: cluster}
}

// wire turns an apply configuration into its body.
func wire(configuration any) (body, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(configuration)
	if err != nil {
		return nil, fmt.Errorf("encode apply configuration: %w", err)
	}
	return m, nil
}

// serviceBody is a headless Service without a selector: its endpoints are CKE's
// to say.
func serviceBody(cluster string) (body, error) {
	return wire(applycore.Service(objectName, namespace).
		WithLabels(labels(nil)).
		WithAnnotations(annotations(cluster)).
		WithSpec(applycore.ServiceSpec().
			WithType(corev1.ServiceTypeClusterIP).
			WithClusterIP(corev1.ClusterIPNone).
			WithPorts(applycore.ServicePort().
				WithName(portName).WithPort(clientPort).WithProtocol(corev1.ProtocolTCP).
				WithTargetPort(intstr.FromInt32(clientPort)))))
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
