package etcd

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

func TestACallOfADeposedLeaderIsNotSent(t *testing.T) {
	const name = "/etcdserverpb.Service/"
	for _, c := range []struct {
		method string
		req    any
		reads  bool
	}{
		{"MemberAdd", &pb.MemberAddRequest{}, false},
		{"MoveLeader", &pb.MoveLeaderRequest{}, false},
		{"Defragment", &pb.DefragmentRequest{}, false}, // which may last longer than a lease
		{"SomethingNew", nil, false},
		{"Alarm", &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE}, false},
		{"Alarm", &pb.AlarmRequest{Action: pb.AlarmRequest_GET}, true},
		{"MemberList", &pb.MemberListRequest{}, true},
		{"Status", &pb.StatusRequest{}, true},
	} {
		for _, until := range []struct {
			at   time.Time
			sent bool
		}{
			{time.Time{}, true},
			{time.Now().Add(time.Hour), true},
			{time.Now().Add(-time.Millisecond), c.reads},
			{time.Unix(1, 0), c.reads}, // which has only the clock on the wall
		} {
			sent := false
			var deadline time.Time
			err := led(func() time.Time { return until.at })(context.Background(), name+c.method, c.req, nil, nil,
				func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
					sent = true
					deadline, _ = ctx.Deadline()
					return nil
				})
			if sent != until.sent || sent == errors.Is(err, ErrTooLate) {
				t.Errorf("%s until %s: sent %t, %v", c.method, until.at, sent, err)
			}
			if want := until.at; sent && !c.reads && !deadline.Equal(want) && (c.method != "Defragment" || !deadline.IsZero()) {
				t.Errorf("%s until %s is sent with deadline %s", c.method, until.at, deadline)
			}
		}
	}
}
