package execute

import (
	"context"
	"io"

	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/host"
	"cke/internal/plan"
)

// Effect names one mutation of the outside world. Steps can only reach it
// through the wrappers below, so that none happens unnamed.
type Effect string

// Every effect there is.
const (
	StoreAdvanceBootstrap Effect = "store.advance-bootstrap"
	StoreForgetLeaving    Effect = "store.forget-leaving"
	StoreForgetUser       Effect = "store.forget-user"
	StoreForgetDefrag     Effect = "store.forget-defrag"
	StorePutRestart       Effect = "store.put-restart"
	StoreDropRestart      Effect = "store.drop-restart"
	StorePutSnapshot      Effect = "store.put-snapshot"
	WriteSnapshot         Effect = "cke.write-snapshot"
	StoreDropDrain        Effect = "store.drop-drain"
	StorePutDrain         Effect = "store.put-drain"
	StoreAdvanceReboot    Effect = "store.advance-reboot"
	HostReboot            Effect = "host.reboot"
	HostPutRelease        Effect = "host.put-release"
	HostPutFiles          Effect = "host.put-files"
	HostInstallUnit       Effect = "host.install-unit"
	HostStartUnit         Effect = "host.start-unit"
	HostStopUnit          Effect = "host.stop-unit"
	HostRetireUnit        Effect = "host.retire-unit"
	HostClean             Effect = "host.clean"
	HostPutClientFiles    Effect = "host.put-client-files"
	HostPutGateway        Effect = "host.put-gateway"
	HostRemoveGateway     Effect = "host.remove-gateway"
	EtcdAddLearner        Effect = "etcd.add-learner"
	EtcdPromote           Effect = "etcd.promote"
	EtcdRemove            Effect = "etcd.remove"
	EtcdMoveLeader        Effect = "etcd.move-leader"
	EtcdEnableDowngrade   Effect = "etcd.enable-downgrade"
	EtcdCancelDowngrade   Effect = "etcd.cancel-downgrade"
	EtcdCompact           Effect = "etcd.compact"
	EtcdDefragment        Effect = "etcd.defragment"
	EtcdDisarm            Effect = "etcd.disarm-alarm"
	EtcdDeleteUser        Effect = "etcd.delete-user"
	EtcdDeleteRole        Effect = "etcd.delete-role"
	EtcdAddRole           Effect = "etcd.add-role"
	EtcdGrant             Effect = "etcd.grant-permission"
	EtcdRevoke            Effect = "etcd.revoke-permission"
	EtcdAddUser           Effect = "etcd.add-user"
	EtcdGrantRole         Effect = "etcd.grant-role"
	EtcdRevokeRole        Effect = "etcd.revoke-role"
	EtcdEnableAuth        Effect = "etcd.enable-auth"
)

// Effects lists them all.
func Effects() []Effect {
	return []Effect{
		StoreAdvanceBootstrap, StoreForgetLeaving, StoreForgetUser, StoreForgetDefrag, StorePutRestart, StoreDropRestart,
		StorePutSnapshot, WriteSnapshot, EtcdEnableDowngrade, EtcdCancelDowngrade,
		StoreDropDrain, StorePutDrain, StoreAdvanceReboot, HostReboot,
		HostPutRelease, HostPutFiles, HostInstallUnit, HostStartUnit, HostStopUnit, HostRetireUnit, HostClean,
		HostPutClientFiles, HostPutGateway, HostRemoveGateway,
		EtcdAddLearner, EtcdPromote, EtcdRemove, EtcdMoveLeader, EtcdCompact, EtcdDefragment, EtcdDisarm,
		EtcdDeleteUser, EtcdDeleteRole, EtcdAddRole, EtcdGrant, EtcdRevoke, EtcdAddUser, EtcdGrantRole, EtcdRevokeRole, EtcdEnableAuth,
	}
}

// Before is told of each mutation right before it.
type Before func()

// After is told of each mutation, successful or not, right after it.
type After func(plan.Kind, Effect)

// Outcome is told how each mutation went, before After is.
type Outcome func(plan.Kind, Effect, error)

type effects struct {
	kind    plan.Kind
	before  Before
	after   After
	outcome Outcome
}

// does a mutation, which is the only way to the outside.
func (f effects) does(e Effect, mutate func() error) error {
	f.before()
	err := mutate()
	f.outcome(f.kind, e, err)
	f.after(f.kind, e)
	return err
}

type effectStore struct {
	Store
	f effects
}

func (s effectStore) AdvanceBootstrap(ctx context.Context, name string, from cluster.Phase, b cluster.Bootstrap) error {
	return s.f.does(StoreAdvanceBootstrap, func() error { return s.Store.AdvanceBootstrap(ctx, name, from, b) })
}

func (s effectStore) ForgetLeaving(ctx context.Context, name string, n cluster.NodeName) error {
	return s.f.does(StoreForgetLeaving, func() error { return s.Store.ForgetLeaving(ctx, name, n) })
}

func (s effectStore) ForgetUser(ctx context.Context, name string, u cluster.RemovedUser) error {
	return s.f.does(StoreForgetUser, func() error { return s.Store.ForgetUser(ctx, name, u) })
}

func (s effectStore) ForgetDefrag(ctx context.Context, name string, n cluster.NodeName) error {
	return s.f.does(StoreForgetDefrag, func() error { return s.Store.ForgetDefrag(ctx, name, n) })
}

func (s effectStore) PutRestart(ctx context.Context, name string, r cluster.Restart) error {
	return s.f.does(StorePutRestart, func() error { return s.Store.PutRestart(ctx, name, r) })
}

func (s effectStore) PutSnapshot(ctx context.Context, name string, snap cluster.Snapshot) error {
	return s.f.does(StorePutSnapshot, func() error { return s.Store.PutSnapshot(ctx, name, snap) })
}

func (s effectStore) DropRestart(ctx context.Context, name string, r cluster.Restart) error {
	return s.f.does(StoreDropRestart, func() error { return s.Store.DropRestart(ctx, name, r) })
}

func (s effectStore) DropDrain(ctx context.Context, name string, d cluster.Drain) error {
	return s.f.does(StoreDropDrain, func() error { return s.Store.DropDrain(ctx, name, d) })
}

func (s effectStore) ChangeDrain(ctx context.Context, name string, from *cluster.Drain, to cluster.Drain) (still bool, err error) {
	err = s.f.does(StorePutDrain, func() (err error) {
		still, err = s.Store.ChangeDrain(ctx, name, from, to)
		return err
	})
	return still, err
}

func (s effectStore) AdvanceReboot(ctx context.Context, name string, from, to cluster.Reboot) (still bool, err error) {
	err = s.f.does(StoreAdvanceReboot, func() (err error) {
		still, err = s.Store.AdvanceReboot(ctx, name, from, to)
		return err
	})
	return still, err
}

func (s effectStore) TellReboot(ctx context.Context, name string, from, to cluster.Reboot, drains []cluster.Drain) (still bool, err error) {
	err = s.f.does(StoreAdvanceReboot, func() (err error) {
		still, err = s.Store.TellReboot(ctx, name, from, to, drains)
		return err
	})
	return still, err
}

type effectHost struct {
	host.Host
	f effects
	// changed says that what the host told before no longer holds.
	changed func()
}

// does says that the host has changed after the mutation, so that no answer from
// during it is taken for one from after it.
func (h effectHost) does(e Effect, mutate func() error) error {
	return h.f.does(e, func() error {
		err := mutate()
		h.changed()
		return err
	})
}

func (h effectHost) PutRelease(ctx context.Context, r host.Release, offset int64, packed io.Reader) error {
	return h.does(HostPutRelease, func() error { return h.Host.PutRelease(ctx, r, offset, packed) })
}

func (h effectHost) PutFiles(ctx context.Context, req host.PutFiles) error {
	return h.does(HostPutFiles, func() error { return h.Host.PutFiles(ctx, req) })
}

func (h effectHost) InstallUnit(ctx context.Context, u cluster.Unit) error {
	return h.does(HostInstallUnit, func() error { return h.Host.InstallUnit(ctx, u) })
}

func (h effectHost) StartUnit(ctx context.Context, name string, id cluster.MemberID) error {
	return h.does(HostStartUnit, func() error { return h.Host.StartUnit(ctx, name, id) })
}

func (h effectHost) StopUnit(ctx context.Context, req host.StopUnit) error {
	return h.does(HostStopUnit, func() error { return h.Host.StopUnit(ctx, req) })
}

func (h effectHost) RetireUnit(ctx context.Context, name string, id cluster.MemberID) error {
	return h.does(HostRetireUnit, func() error { return h.Host.RetireUnit(ctx, name, id) })
}

func (h effectHost) Reboot(ctx context.Context, req host.Reboot) error {
	return h.does(HostReboot, func() error { return h.Host.Reboot(ctx, req) })
}

func (h effectHost) Clean(ctx context.Context, name string) error {
	return h.does(HostClean, func() error { return h.Host.Clean(ctx, name) })
}

func (h effectHost) PutClientFiles(ctx context.Context, req host.PutClientFiles) error {
	return h.does(HostPutClientFiles, func() error { return h.Host.PutClientFiles(ctx, req) })
}

func (h effectHost) PutGateway(ctx context.Context, g cluster.Gateway) error {
	return h.does(HostPutGateway, func() error { return h.Host.PutGateway(ctx, g) })
}

func (h effectHost) RemoveGateway(ctx context.Context, name string) error {
	return h.does(HostRemoveGateway, func() error { return h.Host.RemoveGateway(ctx, name) })
}

// Etcd is the part of the managed cluster's client that steps use.
type Etcd interface {
	AddLearner(ctx context.Context, ep etcd.Endpoint, peerURL string) (cluster.MemberID, error)
	Promote(ctx context.Context, ep etcd.Endpoint, id cluster.MemberID) error
	Remove(ctx context.Context, ep etcd.Endpoint, id cluster.MemberID) error
	MoveLeader(ctx context.Context, leader etcd.Endpoint, to cluster.MemberID) error
	Snapshot(ctx context.Context, ep etcd.Endpoint) (io.ReadCloser, int64, error)
	ValidateDowngrade(ctx context.Context, ep etcd.Endpoint, to string) error
	EnableDowngrade(ctx context.Context, ep etcd.Endpoint, to string) error
	CancelDowngrade(ctx context.Context, ep etcd.Endpoint) error
	Compact(ctx context.Context, ep etcd.Endpoint, revision int64) error
	Defragment(ctx context.Context, ep etcd.Endpoint) error
	Disarm(ctx context.Context, ep etcd.Endpoint, alarm string) error
	Auth(ctx context.Context, ep etcd.Endpoint) (cluster.Auth, error)
	DeleteUser(ctx context.Context, ep etcd.Endpoint, user string) error
	DeleteRole(ctx context.Context, ep etcd.Endpoint, role string) error
	AddRole(ctx context.Context, ep etcd.Endpoint, role string) error
	Grant(ctx context.Context, ep etcd.Endpoint, role string, p cluster.Permission) error
	Revoke(ctx context.Context, ep etcd.Endpoint, role string, p cluster.Permission) error
	AddUser(ctx context.Context, ep etcd.Endpoint, user string) error
	GrantRole(ctx context.Context, ep etcd.Endpoint, user, role string) error
	RevokeRole(ctx context.Context, ep etcd.Endpoint, user, role string) error
	EnableAuth(ctx context.Context, ep etcd.Endpoint) error
}
