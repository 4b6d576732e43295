// Package kube keeps in Kubernetes what CKE promises there: the Service,
// Endpoints and EndpointSlices cke-etcd, and applications' Secrets. It applies on
// the server's side under a field manager of its own, watches what it has made
// and repairs it, and says as conditions what it cannot do. Nothing of etcd's care
// waits for it.
package kube

import (
	"time"

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
