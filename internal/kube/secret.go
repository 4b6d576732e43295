package kube

import (
	"encoding/base64"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"cke/internal/cluster"
)

// The keys of a Secret beside those of kubernetes.io/tls.
const (
	dataCA        = "ca.crt"
	dataEndpoints = "endpoints"
)

// credential is a certificate with its key, for a user and a TTL.
type credential struct {
	user, ttl string
	cert, key []byte
}

// String hides the key.
func (c credential) String() string { return "[certificate of " + c.user + "]" }

// GoString hides the key.
func (c credential) GoString() string { return c.String() }

// bundleOf is the bundle a Secret is of; ok is false when there is none any more.
func (v view) bundleOf(k key) (b cluster.Bundle, ok bool) {
	for _, b := range v.export.Bundles {
		if secretKey(b) == k {
			return b, true
		}
	}
	return cluster.Bundle{}, false
}

// clientURLs are the endpoints as an application takes them.
func (v view) clientURLs(live *unstructured.Unstructured) string {
	c := v.endpoints()
	if !c.known { // a former cke knew better
		if old := string(dataOf(live, dataEndpoints)); old != "" {
			return old
		}
	}
	urls := urlsOf(c.all, func(e cluster.Endpoint) bool { return e.Ready && !e.Terminating })
	if len(urls) == 0 {
		urls = urlsOf(c.all, func(cluster.Endpoint) bool { return true })
	}
	return strings.Join(urls, ",")
}

func urlsOf(all []cluster.Endpoint, which func(cluster.Endpoint) bool) []string {
	var urls []string
	for _, e := range all {
		if which(e) {
			urls = append(urls, "https://"+net.JoinHostPort(e.Address.Unmap().String(), strconv.Itoa(clientPort)))
		}
	}
	return urls
}

// dataOf reads a key of a live Secret; nil when it is not there or no base64.
func dataOf(live *unstructured.Unstructured, name string) []byte {
	if live == nil {
		return nil
	}
	s, _, err := unstructured.NestedString(live.Object, "data", name)
	if err != nil {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return data
}

// installed is the credential in a live Secret.
func installed(live *unstructured.Unstructured) credential {
	if live == nil {
		return credential{}
	}
	a := live.GetAnnotations()
	return credential{a[annotationUser], a[annotationTTL], dataOf(live, corev1.TLSCertKey), dataOf(live, corev1.TLSPrivateKeyKey)}
}

// stale lists why a credential will not do for a bundle.
func stale(c credential, b cluster.Bundle, authority Authority, now time.Time) []string {
	switch {
	case len(c.cert) == 0 || len(c.key) == 0:
		return []string{"there is none"}
	case c.user != b.User:
		return []string{fmt.Sprintf("it is %s's", c.user)}
	case c.ttl != b.TTL.String():
		return []string{fmt.Sprintf("it was issued for %s", c.ttl)}
	}
	return authority.CheckBundle(b.User, c.cert, c.key, now)
}

// secretBody is the Secret of a bundle with this credential.
func (v view) secretBody(b cluster.Bundle, c credential, live *unstructured.Unstructured) (body, error) {
	k := secretKey(b)
	object := corev1.Secret{
		ObjectMeta: k.meta(v.export.Cluster, nil),
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			dataCA: v.export.CA, corev1.TLSCertKey: c.cert, corev1.TLSPrivateKeyKey: c.key,
			dataEndpoints: []byte(v.clientURLs(live)),
		},
	}
	object.Annotations[annotationUser], object.Annotations[annotationTTL] = c.user, c.ttl
	return k.wire(&object)
}

// secretFault says whose a Secret is that must not be touched; "" rule if CKE may.
func (v view) secretFault(k key) (fault, bool) {
	live := v.live[k]
	switch whose(live, v.export.Cluster) {
	case someone:
		return fault{ruleForeignSecret, fmt.Sprintf("%s exists and is not CKE's; it is left as it is", k),
			"choose another name, or delete the Secret"}, true
	case another:
		return fault{ruleForeignSecret,
			fmt.Sprintf("%s is cluster %q's; it is left as it is", k, live.GetAnnotations()[annotationCluster]),
			"choose another name, or delete the Secret"}, true
	}
	return fault{}, false
}

// secretLine says for the history what an apply does to a Secret.
func secretLine(k key, live *unstructured.Unstructured, fresh bool) string {
	switch {
	case live == nil:
		return subjectOf(k) + " created"
	case fresh:
		return subjectOf(k) + " renewed"
	}
	return subjectOf(k) + " brought up to date"
}
