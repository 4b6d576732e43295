package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What can be wrong, as conditions name it.
const (
	ruleKubeconfigUnreadable = "kubeconfigCannotBeRead"
	ruleCredentialsRefused   = "credentialsAreRefused"
	rulePermissionMissing    = "permissionIsMissing"
	ruleUnreachable          = "apiServerIsUnreachable"
	ruleSlow                 = "apiServerIsSlow"
	ruleNotTrusted           = "apiServerIsNotTrusted"
	ruleNamespaceMissing     = "namespaceIsMissing"
	ruleApplyRefused         = "applyIsRefused"
	ruleTakenOver            = "fieldsWereTakenOver"
	ruleUndone               = "changesAreUndone"
	ruleLastGoodKept         = "lastKnownGoodIsKept"
	ruleAddressRefused       = "addressIsRefusedByKubernetes"
	ruleForeignObject        = "objectIsForeign"
	ruleForeignSecret        = "secretIsForeign"
	ruleServiceHasSelector   = "serviceHasSelector"
	ruleNotIssued            = "certificateCannotBeIssued"
	ruleNotForgotten         = "bundleCannotBeForgotten"
)

// fault is one thing that is wrong, for people.
type fault struct{ rule, text, hint string }

// call is what was asked of the API server when something went wrong.
type call struct {
	verb string // as in RBAC
	key  key
}

func (c call) String() string { return c.verb + " " + c.key.String() }

var forbiddenVerb = regexp.MustCompile(`cannot (\w+) resource "([^"]+)"`)

// faultOf says what an error of the API server or of the way to it means.
func faultOf(c call, err error) fault {
	f := func(rule, text, hint string) fault { return fault{rule, c.String() + ": " + text, hint} }
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return f(ruleNamespaceMissing, "the namespace is being deleted", "kubectl create namespace "+c.key.namespace)
	case apierrors.IsUnauthorized(err):
		return f(ruleCredentialsRefused, "the API server does not accept the credentials (401)", "renew what the kubeconfig names; it is read again by itself")
	case apierrors.IsForbidden(err):
		return forbidden(c, err)
	case apierrors.IsNotFound(err) && missing(err) == "namespaces":
		return noNamespace(c)
	case slow(err):
		return f(ruleSlow, said(c, err), "see the API server's load and its etcd")
	case untrusted(err):
		return f(ruleNotTrusted, said(c, err), "see certificate-authority and server in the kubeconfig")
	case clientRefused(err):
		return f(ruleCredentialsRefused, said(c, err), "renew the client certificate that the kubeconfig names")
	case unreachable(err):
		return f(ruleUnreachable, said(c, err), "see server in the kubeconfig, and whether the API server runs")
	}
	return f(ruleApplyRefused, said(c, err), "")
}

func noNamespace(c call) fault {
	return fault{ruleNamespaceMissing, c.String() + ": the namespace does not exist", "kubectl create namespace " + c.key.namespace}
}

// forbidden tells RBAC's refusal from a quota's or an admission's.
func forbidden(c call, err error) fault {
	m := forbiddenVerb.FindStringSubmatch(err.Error())
	if m == nil {
		return fault{ruleApplyRefused, c.String() + ": " + said(c, err), ""}
	}
	return fault{
		rulePermissionMissing,
		fmt.Sprintf("%s: Kubernetes does not let CKE %s %s in %s (403)", c, m[1], m[2], c.key.namespace),
		"ckecli kubernetes manifests | kubectl apply -f -",
	}
}

// missing is the resource that the API server did not find.
func missing(err error) string {
	var s apierrors.APIStatus
	if !errors.As(err, &s) || s.Status().Details == nil {
		return ""
	}
	return s.Status().Details.Kind
}

func slow(err error) bool {
	if apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) {
		return true
	}
	// What does not even connect is away, not slow.
	return !dialing(err) && (errors.Is(err, context.DeadlineExceeded) || timedOut(err))
}

func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func dialing(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func untrusted(err error) bool {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid)
}

// clientRefused: whoever ends TLS refuses the client's certificate with an alert.
func clientRefused(err error) bool {
	var alert tls.AlertError
	var op *net.OpError
	return errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error"
}

func unreachable(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code == http.StatusServiceUnavailable || code == http.StatusBadGateway
	}
	var u *url.Error
	var n net.Error
	return errors.As(err, &u) || errors.As(err, &n) || dialing(err)
}

// said is what the error says. About a Secret the API server's words are left
// out: an admission's message may repeat what is in it.
func said(c call, err error) string {
	var s apierrors.APIStatus
	if c.key.kind.name != secretKind().name || !errors.As(err, &s) {
		return plain(err)
	}
	st := s.Status()
	text := fmt.Sprintf("the API server answers %d %s", st.Code, st.Reason)
	var fields []string
	if st.Details != nil {
		for _, cause := range st.Details.Causes {
			if cause.Field != "" {
				fields = append(fields, cause.Field)
			}
		}
	}
	if len(fields) > 0 {
		text += ": " + strings.Join(fields, ", ")
	}
	return text
}

// plain leaves the request's URL out, which is not what went wrong.
func plain(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", requestPatience)
	}
	return err.Error()
}

// conflict reads a refused apply: who owns what CKE wants to write. ok is false
// for any other error.
func conflict(err error) (text string, ok bool) {
	var s apierrors.APIStatus
	if !apierrors.IsConflict(err) || !errors.As(err, &s) || s.Status().Details == nil {
		return "", false
	}
	var parts []string
	for _, cause := range s.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			who, _, _ := strings.Cut(strings.TrimPrefix(cause.Message, "conflict with "), " using ")
			parts = append(parts, strings.Trim(who, `"`)+" at "+cause.Field)
		}
	}
	return strings.Join(parts, ", "), len(parts) > 0
}
