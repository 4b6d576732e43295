package etcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// status asks a member for its status. clientv3's own Status makes a connection
// for every call, and a TLS handshake for each member every other second is most
// of what an idle CKE would cost, and its members too. So the connection that is
// there is asked; while none is ready a new one says at once what is wrong, or
// right again.
func status(ctx context.Context, conn *clientv3.Client, ep Endpoint) (*clientv3.StatusResponse, error) {
	shared := conn.ActiveConnection()
	if shared.GetState() != connectivity.Ready {
		shared.Connect()
		return conn.Status(ctx, string(ep))
	}
	st, err := pb.NewMaintenanceClient(shared).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return nil, clientv3.ContextError(ctx, err)
	}
	return (*clientv3.StatusResponse)(st), nil
}
