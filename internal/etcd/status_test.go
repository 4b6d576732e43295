package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// counted counts who connects.
type counted struct {
	net.Listener
	connections atomic.Int64
}

func (l *counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.connections.Add(1)
	}
	return conn, err
}

// A member is pinged every other second as long as it lives: over one connection,
// and soon again over another when it was away.
func TestPingsShareAConnection(t *testing.T) {
	t.Parallel()
	c := New(Options{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	// An address of its own: nobody takes the port before the member is back.
	addr := fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
	for range 2 {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		eps := []Endpoint{Endpoint("http://" + addr)}
		counts, srv := &counted{Listener: l}, grpc.NewServer()
		pb.RegisterMaintenanceServer(srv, talker{})
		go srv.Serve(counts) // ends with Stop, which closes l
		// The first pings come before the shared connection is made.
		alone, before := 0, int64(0)
		for deadline := time.Now().Add(60 * time.Second); alone < 20 && time.Now().Before(deadline); {
			served := c.Ping(t.Context(), eps)[eps[0]] == Serving
			if n := counts.connections.Load(); served && n == before {
				alone++
			} else {
				alone, before = 0, n
			}
		}
		srv.Stop()
		if alone < 20 {
			t.Fatalf("pings go on making connections, %d by now", before)
		}
		if got := c.Ping(context.WithoutCancel(t.Context()), eps)[eps[0]]; got != Silent {
			t.Errorf("a member that is down is %v", got)
		}
	}
}
