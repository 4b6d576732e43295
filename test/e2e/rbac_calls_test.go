package e2e

import (
	"context"
	"errors"
	"io"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	epb "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lpb "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cke/test/drive"
)

// services are etcd's own stubs over one client's connection: they show what a
// member answers, without what the client library makes of it.
type services struct {
	kv       pb.KVClient
	watch    pb.WatchClient
	lease    pb.LeaseClient
	cluster  pb.ClusterClient
	maint    pb.MaintenanceClient
	auth     pb.AuthClient
	lock     lpb.LockClient
	election epb.ElectionClient
}

func servicesOf(c *clientv3.Client) services {
	conn := c.ActiveConnection()
	return services{
		pb.NewKVClient(conn), pb.NewWatchClient(conn), pb.NewLeaseClient(conn), pb.NewClusterClient(conn),
		pb.NewMaintenanceClient(conn), pb.NewAuthClient(conn), lpb.NewLockClient(conn), epb.NewElectionClient(conn),
	}
}

// rpcs are all that a member serves to clients.
func rpcs() []string {
	var all []string
	for _, d := range []grpc.ServiceDesc{
		pb.KV_ServiceDesc, pb.Watch_ServiceDesc, pb.Lease_ServiceDesc, pb.Cluster_ServiceDesc,
		pb.Maintenance_ServiceDesc, pb.Auth_ServiceDesc, lpb.Lock_ServiceDesc, epb.Election_ServiceDesc,
	} {
		for _, m := range d.Methods {
			all = append(all, d.ServiceName+"/"+m.MethodName)
		}
		for _, s := range d.Streams {
			all = append(all, d.ServiceName+"/"+s.StreamName)
		}
	}
	return all
}

// call is one use of one RPC.
type call struct {
	rpc  string // as in rpcs
	what string
	make func(context.Context, services) error
}

func (c call) String() string { return c.rpc + " " + c.what }

// try makes the call with a deadline.
func (c call) try(s services) error {
	ctx, cancel := context.WithTimeout(context.Background(), drive.Patience)
	defer cancel()
	return c.make(ctx, s)
}

// refusal is what a member says to a user who may not.
const refusal = "etcdserver: permission denied"

// denied says whether an error is a member's refusal and nothing else. Locks and
// elections are clients of their own within etcd and lose the code on the way.
func denied(err error) bool {
	var cancelled watchError
	if errors.As(err, &cancelled) {
		return strings.HasSuffix(string(cancelled), refusal)
	}
	s, ok := status.FromError(err)
	return ok && (s.Code() == codes.PermissionDenied || s.Code() == codes.Unknown) && s.Message() == refusal
}

// watchError is why a watch was cancelled.
type watchError string

func (w watchError) Error() string { return "watch cancelled: " + string(w) }

func only(_ any, err error) error { return err }

// first reads a stream's first message.
func first[A any](s grpc.ServerStreamingClient[A], err error) error {
	if err != nil {
		return err
	}
	return only(s.Recv())
}

// adminCalls are those that only root may make, with the id of any member.
func adminCalls(member uint64) []call {
	var calls []call
	add := func(rpc, what string, make func(context.Context, services) error) {
		calls = append(calls, call{"etcdserverpb." + rpc, what, make})
	}
	add("KV/Compact", "", func(ctx context.Context, s services) error {
		return only(s.kv.Compact(ctx, &pb.CompactionRequest{Revision: 1}))
	})
	add("Maintenance/Snapshot", "", func(ctx context.Context, s services) error {
		return first(s.maint.Snapshot(ctx, &pb.SnapshotRequest{}))
	})
	add("Maintenance/Hash", "", func(ctx context.Context, s services) error { return only(s.maint.Hash(ctx, &pb.HashRequest{})) })
	add("Maintenance/HashKV", "", func(ctx context.Context, s services) error { return only(s.maint.HashKV(ctx, &pb.HashKVRequest{})) })
	add("Maintenance/Defragment", "", func(ctx context.Context, s services) error {
		return only(s.maint.Defragment(ctx, &pb.DefragmentRequest{}))
	})
	add("Maintenance/MoveLeader", "", func(ctx context.Context, s services) error {
		return only(s.maint.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: member}))
	})
	for _, a := range []pb.AlarmRequest_AlarmAction{pb.AlarmRequest_ACTIVATE, pb.AlarmRequest_DEACTIVATE} {
		for _, kind := range []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT} {
			add("Maintenance/Alarm", a.String()+" "+kind.String(), func(ctx context.Context, s services) error {
				return only(s.maint.Alarm(ctx, &pb.AlarmRequest{Action: a, MemberID: member, Alarm: kind}))
			})
		}
	}
	for _, a := range []pb.DowngradeRequest_DowngradeAction{pb.DowngradeRequest_VALIDATE, pb.DowngradeRequest_ENABLE, pb.DowngradeRequest_CANCEL} {
		add("Maintenance/Downgrade", a.String(), func(ctx context.Context, s services) error {
			return only(s.maint.Downgrade(ctx, &pb.DowngradeRequest{Action: a, Version: "3.6.0"}))
		})
	}
	urls := []string{"https://127.0.0.1:9"}
	add("Cluster/MemberAdd", "voter", func(ctx context.Context, s services) error {
		return only(s.cluster.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: urls}))
	})
	add("Cluster/MemberAdd", "learner", func(ctx context.Context, s services) error {
		return only(s.cluster.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: urls, IsLearner: true}))
	})
	add("Cluster/MemberRemove", "", func(ctx context.Context, s services) error {
		return only(s.cluster.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: member}))
	})
	add("Cluster/MemberUpdate", "", func(ctx context.Context, s services) error {
		return only(s.cluster.MemberUpdate(ctx, &pb.MemberUpdateRequest{ID: member, PeerURLs: urls}))
	})
	add("Cluster/MemberPromote", "", func(ctx context.Context, s services) error {
		return only(s.cluster.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: member}))
	})
	return append(calls, authCalls()...)
}

// authCalls change users, roles and authentication itself, or look at others'.
func authCalls() []call {
	var calls []call
	add := func(rpc, what string, make func(context.Context, services) error) {
		calls = append(calls, call{"etcdserverpb.Auth/" + rpc, what, make})
	}
	everything := &authpb.Permission{Key: []byte{0}, RangeEnd: []byte{0}, PermType: authpb.Permission_READWRITE}
	add("AuthDisable", "", func(ctx context.Context, s services) error {
		return only(s.auth.AuthDisable(ctx, &pb.AuthDisableRequest{}))
	})
	add("AuthEnable", "", func(ctx context.Context, s services) error {
		return only(s.auth.AuthEnable(ctx, &pb.AuthEnableRequest{}))
	})
	add("UserAdd", "without password", func(ctx context.Context, s services) error {
		return only(s.auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "intruder", Options: &authpb.UserAddOptions{NoPassword: true}}))
	})
	add("UserAdd", "with password", func(ctx context.Context, s services) error {
		return only(s.auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "intruder", Password: "x"}))
	})
	add("UserList", "", func(ctx context.Context, s services) error {
		return only(s.auth.UserList(ctx, &pb.AuthUserListRequest{}))
	})
	add("RoleList", "", func(ctx context.Context, s services) error {
		return only(s.auth.RoleList(ctx, &pb.AuthRoleListRequest{}))
	})
	add("RoleAdd", "", func(ctx context.Context, s services) error {
		return only(s.auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "intruder"}))
	})
	for _, of := range []string{"root", "other"} {
		add("UserGet", "of "+of, func(ctx context.Context, s services) error {
			return only(s.auth.UserGet(ctx, &pb.AuthUserGetRequest{Name: of}))
		})
		add("RoleGet", "of "+of, func(ctx context.Context, s services) error {
			return only(s.auth.RoleGet(ctx, &pb.AuthRoleGetRequest{Role: of}))
		})
	}
	for _, of := range []string{"root", "other", "app", "kube-apiserver"} {
		add("UserDelete", "of "+of, func(ctx context.Context, s services) error {
			return only(s.auth.UserDelete(ctx, &pb.AuthUserDeleteRequest{Name: of}))
		})
		add("UserChangePassword", "of "+of, func(ctx context.Context, s services) error {
			return only(s.auth.UserChangePassword(ctx, &pb.AuthUserChangePasswordRequest{Name: of, Password: "x"}))
		})
		add("UserGrantRole", "root to "+of, func(ctx context.Context, s services) error {
			return only(s.auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: of, Role: "root"}))
		})
		add("UserRevokeRole", "of "+of, func(ctx context.Context, s services) error {
			return only(s.auth.UserRevokeRole(ctx, &pb.AuthUserRevokeRoleRequest{Name: of, Role: of}))
		})
		add("RoleDelete", of, func(ctx context.Context, s services) error {
			return only(s.auth.RoleDelete(ctx, &pb.AuthRoleDeleteRequest{Role: of}))
		})
		add("RoleGrantPermission", "everything to "+of, func(ctx context.Context, s services) error {
			return only(s.auth.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: of, Perm: everything}))
		})
		add("RoleRevokePermission", "of "+of, func(ctx context.Context, s services) error {
			return only(s.auth.RoleRevokePermission(ctx, &pb.AuthRoleRevokePermissionRequest{Role: of, Key: []byte("/" + of + "/"), RangeEnd: []byte("/" + of + "0")}))
		})
	}
	return calls
}

// openCalls are those that etcd lets every user make.
func openCalls(self string) []call {
	var calls []call
	add := func(rpc, what string, make func(context.Context, services) error) {
		calls = append(calls, call{"etcdserverpb." + rpc, what, make})
	}
	add("Cluster/MemberList", "", func(ctx context.Context, s services) error {
		return only(s.cluster.MemberList(ctx, &pb.MemberListRequest{Linearizable: true}))
	})
	add("Maintenance/Status", "", func(ctx context.Context, s services) error { return only(s.maint.Status(ctx, &pb.StatusRequest{})) })
	add("Maintenance/Alarm", "GET", func(ctx context.Context, s services) error {
		return only(s.maint.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET}))
	})
	add("Auth/AuthStatus", "", func(ctx context.Context, s services) error {
		return only(s.auth.AuthStatus(ctx, &pb.AuthStatusRequest{}))
	})
	add("Auth/UserGet", "of itself", func(ctx context.Context, s services) error {
		return only(s.auth.UserGet(ctx, &pb.AuthUserGetRequest{Name: self}))
	})
	add("Auth/RoleGet", "of its own", func(ctx context.Context, s services) error {
		return only(s.auth.RoleGet(ctx, &pb.AuthRoleGetRequest{Role: self}))
	})
	return calls
}

// keyCalls use a key, or the range up to end, in every way there is.
func keyCalls(key, end string, lease int64) []call {
	var calls []call
	add := func(rpc, what string, make func(context.Context, services) error) {
		calls = append(calls, call{"etcdserverpb." + rpc, what, make})
	}
	k, to := []byte(key), []byte(end)
	read := &pb.RangeRequest{Key: k, RangeEnd: to}
	remove := &pb.DeleteRangeRequest{Key: k, RangeEnd: to}
	txn := func(what string, r *pb.TxnRequest) {
		add("KV/Txn", what, func(ctx context.Context, s services) error { return only(s.kv.Txn(ctx, r)) })
	}
	op := func(r *pb.RequestOp) []*pb.RequestOp { return []*pb.RequestOp{r} }
	add("KV/Range", "", func(ctx context.Context, s services) error { return only(s.kv.Range(ctx, read)) })
	add("KV/Range", "serializable", func(ctx context.Context, s services) error {
		return only(s.kv.Range(ctx, &pb.RangeRequest{Key: k, RangeEnd: to, Serializable: true, CountOnly: true}))
	})
	add("KV/RangeStream", "", func(ctx context.Context, s services) error { return first(s.kv.RangeStream(ctx, read)) })
	add("KV/DeleteRange", "", func(ctx context.Context, s services) error { return only(s.kv.DeleteRange(ctx, remove)) })
	add("Watch/Watch", "", func(ctx context.Context, s services) error { return openWatch(ctx, s, k, to) })
	txn("that reads", &pb.TxnRequest{Success: op(&pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: read}})})
	txn("that deletes", &pb.TxnRequest{Success: op(&pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: remove}})})
	txn("that compares", &pb.TxnRequest{Compare: []*pb.Compare{{
		Key: k, RangeEnd: to, Target: pb.Compare_VERSION, Result: pb.Compare_GREATER, TargetUnion: &pb.Compare_Version{Version: 0},
	}}})
	if end != "" {
		return calls
	}
	put := &pb.PutRequest{Key: k, Value: []byte("v")}
	add("KV/Put", "", func(ctx context.Context, s services) error { return only(s.kv.Put(ctx, put)) })
	add("KV/Put", "with a lease", func(ctx context.Context, s services) error {
		return only(s.kv.Put(ctx, &pb.PutRequest{Key: k, Lease: lease, PrevKv: true}))
	})
	txn("that writes", &pb.TxnRequest{Success: op(&pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})})
	txn("that would write", &pb.TxnRequest{Failure: op(&pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})})
	txn("in a txn that writes", &pb.TxnRequest{Success: op(&pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
		Success: op(&pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}}),
	}}})})
	return calls
}

// openWatch begins a watch and reads how it was answered.
func openWatch(ctx context.Context, s services, key, end []byte) error {
	w, err := s.watch.Watch(ctx)
	if err != nil {
		return err
	}
	create := &pb.WatchCreateRequest{Key: key, RangeEnd: end, PrevKv: true}
	if err := w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		return err
	}
	a, err := w.Recv()
	if err == nil && a.Canceled {
		return watchError(a.CancelReason)
	}
	return err
}

// namedCalls use a lock and an election of this name, which are keys below it.
func namedCalls(name string, lease int64) []call {
	n := []byte(name)
	return []call{
		{"v3lockpb.Lock/Lock", "", func(ctx context.Context, s services) error {
			return only(s.lock.Lock(ctx, &lpb.LockRequest{Name: n, Lease: lease}))
		}},
		{"v3lockpb.Lock/Unlock", "", func(ctx context.Context, s services) error {
			return only(s.lock.Unlock(ctx, &lpb.UnlockRequest{Key: []byte(name + "/x")}))
		}},
		{"v3electionpb.Election/Campaign", "", func(ctx context.Context, s services) error {
			return only(s.election.Campaign(ctx, &epb.CampaignRequest{Name: n, Lease: lease, Value: []byte("me")}))
		}},
		{"v3electionpb.Election/Proclaim", "", func(ctx context.Context, s services) error {
			return only(s.election.Proclaim(ctx, &epb.ProclaimRequest{Leader: leaderKey(name, lease), Value: []byte("me")}))
		}},
		{"v3electionpb.Election/Leader", "", func(ctx context.Context, s services) error {
			return only(s.election.Leader(ctx, &epb.LeaderRequest{Name: n}))
		}},
		{"v3electionpb.Election/Observe", "", func(ctx context.Context, s services) error {
			err := first(s.election.Observe(ctx, &epb.LeaderRequest{Name: n}))
			if errors.Is(err, io.EOF) { // without a word, when it may not read
				return status.Error(codes.PermissionDenied, refusal)
			}
			return err
		}},
		{"v3electionpb.Election/Resign", "", func(ctx context.Context, s services) error {
			return only(s.election.Resign(ctx, &epb.ResignRequest{Leader: leaderKey(name, lease)}))
		}},
	}
}

func leaderKey(name string, lease int64) *epb.LeaderKey {
	return &epb.LeaderKey{Name: []byte(name), Key: []byte(name + "/x"), Rev: 1, Lease: lease}
}
