package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"

	"cke/internal/cluster"
)

// shelf is a member that has these keys, each with a value of 90 bytes.
type shelf struct {
	talker
	keys []string // in order
}

func (s shelf) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	out := &pb.RangeResponse{Header: &pb.ResponseHeader{}}
	for _, k := range s.keys {
		if k < string(r.Key) || string(r.RangeEnd) != "\x00" && k >= string(r.RangeEnd) {
			continue
		}
		if out.Count++; int64(len(out.Kvs)) < r.Limit {
			out.Kvs = append(out.Kvs, &mvccpb.KeyValue{Key: []byte(k), Value: make([]byte, 90)})
		}
	}
	return out, nil
}

// A key right below a prefix hides no part of it, not one that begins like the key
// either.
func TestWhereTheDataIs(t *testing.T) {
	t.Parallel()
	var keys []string
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("/app/archive/%02d", i), fmt.Sprintf("/app/big/%02d", i), fmt.Sprintf("/many/k%03d", i), fmt.Sprintf("/many/x/%02d", i))
	}
	for i := range 2 * usageAhead {
		keys = append(keys, fmt.Sprintf("/many/n%03d", i))
	}
	keys = append(keys, "/app/", "/app/a", "/app/b", "/app/c", "/else")
	slices.Sort(keys)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	pb.RegisterKVServer(srv, shelf{keys: keys})
	go srv.Serve(lis) // ends with Stop
	t.Cleanup(srv.Stop)
	c := New(Options{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	all, err := c.Usage(t.Context(), Endpoint("http://"+lis.Addr().String()), []string{"/app/", "/many/", "/none/"})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b cluster.PrefixUsage) int { return strings.Compare(a.Prefix, b.Prefix) })
	var got []string
	for _, u := range all {
		got = append(got, fmt.Sprintf("%s %d", u.Prefix, u.Keys))
	}
	want := []string{" 1", "/app/ 4", "/app/archive/ 30", "/app/big/ 30", "/many/ 230", "/many/x/ 30"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
