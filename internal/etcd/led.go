package etcd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// ErrTooLate says that this cke may lead no more when the call would be carried
// out. Members cannot tell an old leader from a new one, so it is not made.
var ErrTooLate = errors.New("this cke does not lead any more")

// reads are the calls that change nothing, by their gRPC names. Any other is
// bounded: a call that is new here is one that changes something.
func reads() []string {
	return []string{
		"Range", "MemberList", "Status", "Hash", "HashKV", "AuthStatus",
		"UserGet", "UserList", "RoleGet", "RoleList", "LeaseTimeToLive", "LeaseLeases",
	}
}

// lasts says whether a call may rightly take longer than a lease: what it does,
// done twice, is done once. It goes on while this cke leads, and ends with its
// context.
func lasts(method string) bool {
	return slices.Contains([]string{"Defragment", "Compact"}, path.Base(method))
}

func changes(method string, req any) bool {
	if a, ok := req.(*pb.AlarmRequest); ok {
		return a.GetAction() != pb.AlarmRequest_GET
	}
	return !slices.Contains(reads(), path.Base(method))
}

// ackPatience is how long the kernel goes on sending what a member does not
// acknowledge (TCP_USER_TIMEOUT, which gRPC sets to it): a leader that is cut off
// must not be heard of after its lease.
func (o Options) ackPatience() time.Duration {
	if o.Until().IsZero() {
		return 5 * time.Second
	}
	return 2 * time.Second
}

// led bounds every call that changes something by the time until which this cke
// leads, as known right before it is sent. It is as near to the wire as can be: a
// process that was stopped before this and goes on later sends nothing, and what
// was sent carries its end along.
func led(until func() time.Time) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		end := until()
		if end.IsZero() || !changes(method, req) {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		if left := min(time.Until(end), end.Round(0).Sub(time.Now().Round(0))); left <= 0 {
			return fmt.Errorf("call %s: %w", path.Base(method), ErrTooLate)
		}
		if lasts(method) {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		ctx, cancel := context.WithDeadline(ctx, end)
		defer cancel()
		return invoke(ctx, method, req, reply, cc, opts...)
	}
}
