package api

import (
	"context"
	"io"
	"time"

	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/internal/record"
)

// Backend is what the API serves. Errors that are *Error keep their code and
// hint on the way to the client; all others become "failed".
type Backend interface {
	Clusters(ctx context.Context) ([]ClusterSummary, error)
	// Spec returns the wanted spec, and its revision in the store.
	Spec(ctx context.Context, cluster string) (cluster.Spec, int64, error)
	// SpecYAML returns the same as a cluster.yml.
	SpecYAML(ctx context.Context, cluster string) ([]byte, error)
	// PutSpec takes a cluster.yml; name is only for messages.
	PutSpec(ctx context.Context, name string, yaml []byte) (SpecChange, error)
	Status(ctx context.Context, cluster string) (Status, error)
	// WatchStatus calls fn now and after every change until ctx ends or fn fails.
	WatchStatus(ctx context.Context, cluster string, fn func(Status) error) error
	// Plan decides afresh on a fresh observation.
	Plan(ctx context.Context, cluster string) (plan.Plan, error)
	// History returns the newest n records, oldest first.
	History(ctx context.Context, cluster string, n int) ([]record.Record, error)
	// FollowHistory calls fn for the newest n records and then for each new one.
	FollowHistory(ctx context.Context, cluster string, n int, fn func(record.Record) error) error

	IssueRoot(ctx context.Context, cluster string) (Certificate, error)
	Issue(ctx context.Context, cluster, user string, ttl time.Duration) (Certificate, error)
	// AddUser returns when etcd knows the user; false: it was there already.
	AddUser(ctx context.Context, cluster string, u cluster.User) (bool, error)
	Users(ctx context.Context, cluster string) ([]cluster.User, error)
	// RemoveUser returns when etcd knows the user no more.
	RemoveUser(ctx context.Context, cluster, user string) (UserRemoval, error)
	Members(ctx context.Context, cluster string) ([]cluster.Member, error)
	// AskDefrag has the member on a node, or every one, defragmented; it returns
	// when that is recorded.
	AskDefrag(ctx context.Context, cluster, node string) ([]DefragAsked, error)
	// Snapshot streams etcd's own snapshot with its trailing SHA-256. The second
	// value estimates its length in bytes.
	Snapshot(ctx context.Context, cluster string) (io.ReadCloser, int64, error)

	// EtcdConfig is what a kube-apiserver needs: one on this node, or on any
	// without one; through the gateway of its machine if that is asked for or the
	// node has one.
	EtcdConfig(ctx context.Context, cluster, node string, gateway bool) (EtcdConfig, error)
	// Manifests are what has to be in Kubernetes before CKE may act there, YAML.
	Manifests(ctx context.Context, cluster string, to Subject) ([]byte, error)
	Bundles(ctx context.Context, cluster string) ([]cluster.Bundle, error)
	// AddBundle returns when it is recorded.
	AddBundle(ctx context.Context, cluster string, b cluster.Bundle) (BundleChange, error)
	RemoveBundle(ctx context.Context, cluster, namespace, name string) (BundleChange, error)

	Pause(ctx context.Context, cluster, why string) error
	Resume(ctx context.Context, cluster string) error
	// Trust takes the key a host shows now. Without a fingerprint only its first.
	Trust(ctx context.Context, cluster, address, fingerprint string) (TrustedKey, error)
	Claim(ctx context.Context, cluster, node string) error
	// CheckNodes measures whether a node could carry a member, now; an empty node
	// means every one that may.
	CheckNodes(ctx context.Context, cluster, node string) ([]cluster.NodeCheck, error)
	// CleanNode removes everything of CKE's from a machine that carries no
	// member, or only forgets one that is gone.
	CleanNode(ctx context.Context, cluster, node string, forget bool) error
	// DrainNode returns when the loop knows of it.
	DrainNode(ctx context.Context, cluster, node string, r DrainRequest) (DrainAnswer, error)
	UndrainNode(ctx context.Context, cluster, node string) (DrainAnswer, error)
	// RebootNodes returns when the loop knows of it; the nodes are hostnames then.
	RebootNodes(ctx context.Context, cluster string, r RebootRequest) (cluster.Reboot, error)
	CancelReboot(ctx context.Context, cluster string) error
	// Logs streams the last n lines of what the members on a node wrote; with
	// follow it goes on until ctx ends.
	Logs(ctx context.Context, cluster, node string, n int, follow bool) (io.ReadCloser, error)

	// StateBackup writes CKE's own state as one file.
	StateBackup(ctx context.Context, w io.Writer) error
	// Leader is the daemon that acts, whichever is asked.
	Leader(ctx context.Context) (Leader, error)
}

// SpecChange is what a cluster.yml did.
type SpecChange struct {
	Cluster  string   `json:"cluster"`
	Revision int64    `json:"revision"`
	Created  bool     `json:"created"`
	Changed  bool     `json:"changed"`
	Warnings []string `json:"warnings,omitempty"`
}

// The codes of an Error.
const (
	CodeRefused  = "refused"   // held back by a rule: exit 3, status 409
	CodeInvalid  = "invalid"   // bad input: exit 1, status 422
	CodeNotFound = "not-found" // names something that is not there: exit 1, status 404
	CodeFailed   = "failed"    // tried and did not work: exit 1, status 500
	// CodeNotLeader: another daemon answers this: exit 4, status 503.
	CodeNotLeader = "not-leader"
)

// Error is an error meant for the caller.
type Error struct {
	Code    string
	Message string
	Hint    string
	// Leader is with NotLeader: where to ask instead.
	Leader string
}

func (e *Error) Error() string { return e.Message }

// Refused says that a rule holds this back.
func Refused(message, hint string) *Error {
	return &Error{Code: CodeRefused, Message: message, Hint: hint}
}

// Invalid says that the input is wrong.
func Invalid(message, hint string) *Error {
	return &Error{Code: CodeInvalid, Message: message, Hint: hint}
}

// NotFound says that the thing named does not exist.
func NotFound(message, hint string) *Error {
	return &Error{Code: CodeNotFound, Message: message, Hint: hint}
}

type callerKey struct{}

// WithCaller notes who makes a request: "uid 0" on the socket, the client
// certificate's common name over HTTPS.
func WithCaller(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

// Caller is who makes this request, for the record.
func Caller(ctx context.Context) string {
	who, _ := ctx.Value(callerKey{}).(string)
	return who
}
