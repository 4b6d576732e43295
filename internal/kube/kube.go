// Package kube keeps in Kubernetes what CKE promises there: the Service,
// Endpoints and EndpointSlices cke-etcd, and applications' Secrets. It applies on
// the server's side under a field manager of its own, watches what it has made
// and repairs it, and says as conditions what it cannot do. Nothing of etcd's care
// waits for it.
package kube

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"cke/internal/cluster"
	"cke/internal/units"
)

// Export is what is to be in Kubernetes of one cluster.
type Export struct {
	Cluster string
	// Endpoints as plan.Endpoints gives them. With none that is ready what was
	// published last stays.
	Endpoints []cluster.Endpoint
	Bundles   []cluster.Bundle
	// CA is the server CA that bundles carry, PEM.
	CA []byte
}

// Authority issues and checks the certificates in bundles.
type Authority interface {
	// IssueBundle returns a fresh certificate and key of a user, PEM.
	IssueBundle(user string, ttl units.Duration, now time.Time) (cert, key []byte, err error)
	// CheckBundle lists every reason why this certificate must be issued again;
	// none means it is good. Renewal begins at two thirds of its life.
	CheckBundle(user string, cert, key []byte, now time.Time) []string
}

// Options are what a Publisher works with.
type Options struct {
	// Kubeconfig is a file, or cluster.InCluster.
	Kubeconfig string
	Authority  Authority
	// Changed is called after Published or Conditions changed, by any goroutine and
	// never under a lock.
	Changed func()
	// Forget is called when the Secret of a bundle that is Removing is gone. Until it
	// returns nil it is called again.
	Forget func(ctx context.Context, b cluster.Bundle) error
	// Recorded gets a line for the history for each change made in Kubernetes, and
	// for each that Kubernetes refuses, once.
	Recorded func(what string, err error)
	// Until is the moment that no change may outlive; nil, or the zero time, for none.
	Until func() time.Time
	Now   func() time.Time
	Log   *slog.Logger
}

const (
	manager   = "cke" // the field manager, and the value of managed-by
	namespace = "kube-system"
	// The Service, the Endpoints and the first EndpointSlice have one name.
	objectName = "cke-etcd"
	ipv6Name   = "cke-etcd-ipv6"
	portName   = "etcd-client-ssl"
	clientPort = 2379

	labelManagedBy = "app.kubernetes.io/managed-by"
	// Annotations say whose an object is: managed-by alone would let two CKEs
	// undo each other's work under one field manager, without a conflict.
	annotationCluster = "cke/cluster"
	annotationUser    = "cke/user"
	annotationTTL     = "cke/ttl"
)

// kind is one of the kinds CKE has objects of.
type kind struct {
	name     string // as in a manifest
	resource schema.GroupVersionResource
}

func serviceKind() kind {
	return kind{"Service", schema.GroupVersionResource{Version: "v1", Resource: "services"}}
}

func endpointsKind() kind {
	return kind{"Endpoints", schema.GroupVersionResource{Version: "v1", Resource: "endpoints"}}
}

func sliceKind() kind {
	return kind{"EndpointSlice", schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}}
}

func secretKind() kind {
	return kind{"Secret", schema.GroupVersionResource{Version: "v1", Resource: "secrets"}}
}

// namespaces are looked at, never kept.
func namespaces() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
}

// key names one object.
type key struct {
	kind            kind
	namespace, name string
}

// String is how people read it: "EndpointSlice kube-system/cke-etcd".
func (k key) String() string { return k.kind.name + " " + k.namespace + "/" + k.name }

func serviceKey() key   { return key{serviceKind(), namespace, objectName} }
func endpointsKey() key { return key{endpointsKind(), namespace, objectName} }
func sliceKey() key     { return key{sliceKind(), namespace, objectName} }
func ipv6SliceKey() key { return key{sliceKind(), namespace, ipv6Name} }

func secretKey(b cluster.Bundle) key { return key{secretKind(), b.Namespace, b.Name} }
