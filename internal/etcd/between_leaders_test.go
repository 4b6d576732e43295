package etcd

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"cke/internal/cluster"
)

// heir is a member that knows no leader the first times it is asked.
type heir struct {
	talker
	asked      *atomic.Int64
	leaderless int64
}

func (h heir) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	st, err := h.talker.Status(ctx, r)
	if h.asked.Add(1) <= h.leaderless {
		st.Leader = 0
	}
	return st, err
}

// Leadership that is on its way from one to the other makes no member unhealthy: its
// endpoint would be withdrawn for a moment, of all of them at once. A cluster that has
// no leader has none when it is asked again.
func TestLeadershipOnItsWay(t *testing.T) {
	t.Parallel()
	for leaderless, healthy := range map[int64]bool{0: true, 1: true, 2: false} {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ep := Endpoint("http://" + lis.Addr().String())
		h := heir{talker: talker{peers: []string{string(ep)}}, asked: new(atomic.Int64), leaderless: leaderless}
		srv := grpc.NewServer()
		pb.RegisterKVServer(srv, h)
		pb.RegisterMaintenanceServer(srv, h)
		pb.RegisterClusterServer(srv, h)
		pb.RegisterAuthServer(srv, h)
		go srv.Serve(lis) // ends with Stop
		c := New(Options{Log: slog.New(slog.DiscardHandler)})
		e := c.Observe(t.Context(), []Endpoint{ep}, []cluster.Node{})
		if e.Quorum != healthy || healthy && (len(e.Members) != 1 || !e.Members[0].Healthy) {
			t.Errorf("leaderless %d times: %+v", leaderless, e)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		srv.Stop()
	}
}
