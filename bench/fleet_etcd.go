package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"cke/internal/cluster"
)

// grpcEnd is what answers gRPC for all simulated members. One server answers for all:
// which address was called says which member is meant.
type grpcEnd struct {
	pb.UnimplementedKVServer
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedClusterServer
	pb.UnimplementedAuthServer
	w    *world
	tls  map[netip.Addr]*tls.Config
	grpc *grpc.Server
}

// serve listens at every member's address.
func (w *world) serve() (*grpcEnd, error) {
	s := &grpcEnd{w: w, tls: map[netip.Addr]*tls.Config{}}
	for a, m := range w.members {
		pair, err := tls.X509KeyPair(m.tls.cert, m.tls.key)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(m.tls.clientCA) {
			return nil, errors.New("read a client CA: no certificate in it")
		}
		s.tls[a] = &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		}
	}
	// As etcd does; gRPC's default would end connections that CKE keeps alive.
	keep := keepalive.EnforcementPolicy{MinTime: 5 * time.Second}
	s.grpc = grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keep), grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			m, err := w.at(h.Conn.LocalAddr())
			if err != nil {
				return nil, err
			}
			return s.tls[m.node.Address], nil
		},
	})))
	pb.RegisterKVServer(s.grpc, s)
	pb.RegisterMaintenanceServer(s.grpc, s)
	pb.RegisterClusterServer(s.grpc, s)
	pb.RegisterAuthServer(s.grpc, s)
	for a := range w.members {
		l, err := net.Listen("tcp", netip.AddrPortFrom(a, cluster.ClientPort).String())
		if err != nil {
			s.grpc.Stop()
			return nil, err
		}
		go s.grpc.Serve(l) //nolint:errcheck // ends with Stop, which closes l
	}
	return s, nil
}

func (w *world) at(a net.Addr) (*simulated, error) {
	local, err := netip.ParseAddrPort(a.String())
	if m := w.members[local.Addr().Unmap()]; err == nil && m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("no member is at %s", a)
}

func (s *grpcEnd) called(ctx context.Context) (*simulated, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, errors.New("nobody knows who was called")
	}
	return s.w.at(p.LocalAddr)
}

func (m *simulated) header() *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: uint64(m.of.id), MemberId: uint64(m.id), Revision: 1000, RaftTerm: 2}
}

func (s *grpcEnd) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	m, err := s.called(ctx)
	if err != nil {
		return nil, err
	}
	return &pb.StatusResponse{
		Header: m.header(), Version: cluster.DefaultVersion, DbSize: 64 << 20, DbSizeInUse: 60 << 20,
		Leader: uint64(m.of.members[0].id), RaftIndex: 5000, RaftAppliedIndex: 5000, RaftTerm: 2, StorageVersion: "3.7.0",
	}, nil
}

func (s *grpcEnd) Alarm(ctx context.Context, _ *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	m, err := s.called(ctx)
	if err != nil {
		return nil, err
	}
	return &pb.AlarmResponse{Header: m.header()}, nil
}

func (s *grpcEnd) Range(ctx context.Context, _ *pb.RangeRequest) (*pb.RangeResponse, error) {
	m, err := s.called(ctx)
	if err != nil {
		return nil, err
	}
	return &pb.RangeResponse{Header: m.header()}, nil
}

func (s *grpcEnd) MemberList(ctx context.Context, _ *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	m, err := s.called(ctx)
	if err != nil {
		return nil, err
	}
	r := &pb.MemberListResponse{Header: m.header()}
	for _, o := range m.of.members {
		r.Members = append(r.Members, &pb.Member{
			ID: uint64(o.id), Name: string(o.node.Hostname), PeerURLs: []string{o.node.PeerURL()}, ClientURLs: []string{o.node.ClientURL()},
		})
	}
	return r, nil
}

func (s *grpcEnd) AuthStatus(context.Context, *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	return &pb.AuthStatusResponse{Enabled: true, AuthRevision: 7}, nil
}

func (s *grpcEnd) UserList(context.Context, *pb.AuthUserListRequest) (*pb.AuthUserListResponse, error) {
	return &pb.AuthUserListResponse{Users: fleetUsers()}, nil
}

func fleetUsers() []string { return []string{cluster.RootUser, cluster.APIServerUser} }

func (s *grpcEnd) RoleList(context.Context, *pb.AuthRoleListRequest) (*pb.AuthRoleListResponse, error) {
	return &pb.AuthRoleListResponse{Roles: fleetUsers()}, nil
}

func (s *grpcEnd) UserGet(_ context.Context, r *pb.AuthUserGetRequest) (*pb.AuthUserGetResponse, error) {
	return &pb.AuthUserGetResponse{Roles: []string{r.Name}}, nil
}

func (s *grpcEnd) RoleGet(_ context.Context, r *pb.AuthRoleGetRequest) (*pb.AuthRoleGetResponse, error) {
	if r.Role == cluster.RootUser {
		return &pb.AuthRoleGetResponse{}, nil
	}
	return &pb.AuthRoleGetResponse{Perm: []*authpb.Permission{{
		PermType: authpb.Permission_READWRITE, Key: []byte("/registry/"), RangeEnd: []byte("/registry0"),
	}}}, nil
}
