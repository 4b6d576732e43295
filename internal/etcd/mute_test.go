package etcd

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"cke/internal/cluster"
)

// talker answers what a look asks of a member.
type talker struct {
	pb.UnimplementedKVServer
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedClusterServer
	pb.UnimplementedAuthServer
	peers []string
}

func (t talker) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{ClusterId: 1, MemberId: 1}, Leader: 1, RaftTerm: 2}, nil
}

func (t talker) Range(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
	return &pb.RangeResponse{Header: &pb.ResponseHeader{}}, nil
}

func (t talker) MemberList(context.Context, *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	r := &pb.MemberListResponse{Header: &pb.ResponseHeader{}}
	for i, url := range t.peers {
		r.Members = append(r.Members, &pb.Member{ID: uint64(i + 1), Name: url, PeerURLs: []string{url}, ClientURLs: []string{url}})
	}
	return r, nil
}

func (t talker) AuthStatus(context.Context, *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	return &pb.AuthStatusResponse{Header: &pb.ResponseHeader{}}, nil
}

func (t talker) UserList(context.Context, *pb.AuthUserListRequest) (*pb.AuthUserListResponse, error) {
	return &pb.AuthUserListResponse{Header: &pb.ResponseHeader{}}, nil
}

func (t talker) RoleList(context.Context, *pb.AuthRoleListRequest) (*pb.AuthRoleListResponse, error) {
	return &pb.AuthRoleListResponse{Header: &pb.ResponseHeader{}}, nil
}

// A member whose machine takes connections and says nothing is given up soon after
// the others have answered, though it had all the time there is at first. When it
// answers after all, the next look need not be waited for.
func TestWhoDoesNotAnswerIsNotWaitedForAgain(t *testing.T) {
	t.Parallel()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() }) // the server's is closed by then
		return l
	}
	talks, silent := listen(), listen()
	eps := []Endpoint{Endpoint("http://" + talks.Addr().String()), Endpoint("http://" + silent.Addr().String())}
	srv, answers := grpc.NewServer(), talker{peers: []string{string(eps[0]), string(eps[1])}}
	pb.RegisterKVServer(srv, answers)
	pb.RegisterMaintenanceServer(srv, answers)
	pb.RegisterClusterServer(srv, answers)
	pb.RegisterAuthServer(srv, answers)
	go srv.Serve(talks) // ends with Stop
	t.Cleanup(srv.Stop)
	late := make(chan struct{}, 1)
	c := New(Options{Log: slog.New(slog.DiscardHandler), Late: func() { late <- struct{}{} }})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for i, want := range []string{"deadline exceeded", errMute.Error()} {
		e := c.Observe(t.Context(), eps, []cluster.Node{})
		if !e.Quorum || len(e.Members) != 2 || !e.Members[0].Healthy || e.Members[1].Healthy || !strings.Contains(e.Members[1].Err, want) {
			t.Fatalf("look %d: %+v", i+1, e)
		}
	}
	select {
	case <-late:
		t.Fatal("somebody answered late who said nothing")
	default:
	}
	go srv.Serve(silent) // ends with Stop
	select {
	case <-late:
	case <-time.After(time.Minute):
		t.Fatal("nobody was told of the answer that came late")
	}
	if !c.answered(eps[1]) {
		t.Error("the next look would not wait for it")
	}
}

// Looks that follow each other wait for the same question once. Who asks anew, as a
// guard does, waits for one of its own.
func TestAQuestionIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	waits := func(ctx context.Context, again bool, of ...*pending) time.Duration {
		late := map[int]*pending{}
		for i, q := range of {
			late[i] = q
		}
		began := time.Now()
		await(ctx, late, muteTimeout, again)
		return time.Since(began)
	}
	synctest.Test(t, func(t *testing.T) {
		open, answered := &pending{done: make(chan struct{})}, &pending{done: make(chan struct{})}
		close(answered.done)
		for _, c := range []struct {
			what string
			got  time.Duration
			want time.Duration
		}{
			{"the first time", waits(t.Context(), false, open, answered), muteTimeout},
			{"the second time", waits(t.Context(), false, open, answered), 0},
			{"with another, which is new", waits(t.Context(), false, open, &pending{done: make(chan struct{})}), muteTimeout},
			{"when nobody else is there", waits(t.Context(), true, open), muteTimeout},
			{"for one that is answered", waits(t.Context(), false, answered), 0},
		} {
			if c.got != c.want {
				t.Errorf("%s it is waited for %s, want %s", c.what, c.got, c.want)
			}
		}
		if !open.left.Load() {
			t.Error("it is not known that a look went on without it")
		}
	})
	c := New(Options{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	ep := Endpoint("http://127.0.0.1:1")
	old := &pending{done: make(chan struct{})}
	old.left.Store(true)
	c.aside[ep] = old
	if c.askAside(ep) != old {
		t.Error("a look asks twice at a time")
	}
	c.AskAnew([]Endpoint{ep})
	if c.askAside(ep) == old {
		t.Error("a guard takes an older question for its own")
	}
}
