package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// requestPatience bounds every request but the stream of a watch.
	requestPatience = 10 * time.Second
	// An apply or a list without an answer is sent again after this. Who is sent to a dead
	// member waits for it; there may be hundreds of Secrets, and who reads them is
	// not in such a hurry.
	resendEndpoints = 500 * time.Millisecond
	resendSecret    = 4 * time.Second
	dialPatience    = 4 * time.Second
	// A connection that is silent for pingAfter is asked whether it lives.
	pingAfter    = 10 * time.Second
	pingPatience = 5 * time.Second
	// Hundreds of Secrets may be looked at when cke starts, and changed with each
	// endpoint. The few objects that clients are sent by do not wait for them.
	secretsPerSecond = 50
	secretsBurst     = 100
)

// session is one login to an API server. Its connections are its own, so that
// they end with it.
type session struct {
	client    dynamic.Interface
	many      dynamic.Interface       // for Secrets, of which there may be hundreds
	doors     chan struct{}           // one place for each knock of theirs
	secrets   flowcontrol.RateLimiter // of what is asked about Secrets
	transport *http.Transport
	hangUp    context.CancelFunc // ends all connections
	server    string             // which API server it is with
	// doubt is signalled when the API server or this side refused the other's
	// credentials: the kubeconfig may have changed.
	doubt chan struct{}
	// until is the moment that no change may outlive; the zero time is none.
	until func() time.Time
}

func newSession(ctx context.Context, config *rest.Config, until func() time.Time) (*session, error) {
	config.QPS = -1 // turn is the limit
	config.UserAgent = "cke"
	config.WarningHandler = rest.NoWarnings{} // such as: v1 Endpoints is deprecated
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("read certificates of kubeconfig: %w", err)
	}
	proxy := config.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	open, hangUp := context.WithCancel(ctx)
	s := &session{doubt: make(chan struct{}, 1), doors: make(chan struct{}, knocks), hangUp: hangUp, until: until, server: config.Host + string(config.CAData)}
	s.secrets = flowcontrol.NewTokenBucketRateLimiter(secretsPerSecond, secretsBurst)
	s.transport = &http.Transport{
		Proxy: proxy, DialContext: dialWhile(open), TLSClientConfig: tlsConfig,
		TLSHandshakeTimeout: dialPatience, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingPatience},
	}
	rt, err := rest.HTTPWrappersForConfig(config, s.transport)
	if err != nil {
		hangUp()
		return nil, fmt.Errorf("read credentials of kubeconfig: %w", err)
	}
	few := &http.Client{Transport: knocking{led{rt, until}, s.doors}}
	if s.client, err = dynamic.NewForConfigAndClient(config, &http.Client{Transport: led{rt, until}}); err == nil {
		s.many, err = dynamic.NewForConfigAndClient(config, few)
	}
	if err != nil {
		hangUp()
		return nil, fmt.Errorf("read server of kubeconfig: %w", err)
	}
	return s, nil
}

// close ends the session's connections. Asking the transport for it is not
// enough: a watch that was just stopped makes its connection look busy.
func (s *session) close() {
	s.hangUp()
	s.transport.CloseIdleConnections()
}

// dialWhile makes connections that end with open.
func dialWhile(open context.Context) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialPatience}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l := &line{Conn: conn}
		l.forget = context.AfterFunc(open, func() { conn.Close() }) //nolint:errcheck // nobody is left to be told
		return l, nil
	}
}

// line is a connection that ends with its session.
type line struct {
	net.Conn
	forget func() bool
}

// Close ends the connection before its session.
func (l *line) Close() error {
	l.forget()
	return l.Conn.Close()
}

func (s *session) of(k key) dynamic.ResourceInterface {
	if k.kind == secretKind() {
		return s.many.Resource(k.kind.resource).Namespace(k.namespace)
	}
	return s.client.Resource(k.kind.resource).Namespace(k.namespace)
}

// turn waits until it is a Secret's turn to be asked about. That is not a part of
// the time that the API server has for its answer.
func (s *session) turn(ctx context.Context, k key) error {
	if k.kind != secretKind() {
		return nil
	}
	return s.secrets.Wait(ctx)
}

// list reads one object as it is, nil if there is none, and from where to watch
// it.
func (s *session) list(ctx context.Context, k key) (*unstructured.Unstructured, string, error) {
	if err := s.turn(ctx, k); err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	all, err := insist(ctx, resendAfter(k), func(ctx context.Context) (*unstructured.UnstructuredList, error) {
		return s.of(k).List(ctx, metav1.ListOptions{FieldSelector: named(k)})
	})
	if err != nil {
		return nil, "", err
	}
	for i := range all.Items {
		if all.Items[i].GetName() == k.name {
			return &all.Items[i], all.GetResourceVersion(), nil
		}
	}
	return nil, all.GetResourceVersion(), nil
}

func resendAfter(k key) time.Duration {
	if k.kind == secretKind() {
		return resendSecret
	}
	return resendEndpoints
}

// watch opens a watch of one object. Only its opening is bounded.
func (s *session) watch(ctx context.Context, k key, from string) (watch.Interface, error) {
	if err := s.turn(ctx, k); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(requestPatience, func() { cancel(context.DeadlineExceeded) })
	w, err := s.of(k).Watch(ctx, metav1.ListOptions{
		FieldSelector: named(k), ResourceVersion: from, AllowWatchBookmarks: true,
	})
	if late.Stop() && err == nil {
		return &ending{w, func() { cancel(nil) }}, nil
	}
	if err == nil { // it came just too late
		w.Stop()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	return nil, err
}

// ending is a watch that also ends its context.
type ending struct {
	watch.Interface
	end func()
}

func (e *ending) Stop() {
	e.Interface.Stop()
	e.end()
}

// apply is sent again while no answer comes: it changes nothing twice. What an API
// server writes while its etcd has no leader may be lost, and it takes 7 s to say so.
func (s *session) apply(ctx context.Context, k key, b body, force bool) (*unstructured.Unstructured, error) {
	if err := s.turn(ctx, k); err != nil {
		return nil, err
	}
	ctx, cancel := s.changing(ctx)
	defer cancel()
	return insist(ctx, resendAfter(k), func(ctx context.Context) (*unstructured.Unstructured, error) {
		return s.of(k).Apply(ctx, k.name, &unstructured.Unstructured{Object: b},
			metav1.ApplyOptions{FieldManager: manager, Force: force})
	})
}

func (s *session) merge(ctx context.Context, k key, b body) (*unstructured.Unstructured, error) {
	ctx, cancel := s.changing(ctx)
	defer cancel()
	patch, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return s.of(k).Patch(ctx, k.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
}

// remove deletes exactly the object that was seen.
func (s *session) remove(ctx context.Context, k key, live *unstructured.Unstructured) error {
	if err := s.turn(ctx, k); err != nil {
		return err
	}
	ctx, cancel := s.changing(ctx)
	defer cancel()
	uid, version := live.GetUID(), live.GetResourceVersion()
	return s.of(k).Delete(ctx, k.name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
	})
}

// gone says whether a namespace is known not to be there.
func (s *session) gone(ctx context.Context, namespace string) bool {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	_, err := s.client.Resource(namespaces()).Get(ctx, namespace, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

// question asks whoever holds the login whether it is still the right one.
func (s *session) question() {
	select {
	case s.doubt <- struct{}{}:
	default:
	}
}

func named(k key) string { return "metadata.name=" + k.name }
