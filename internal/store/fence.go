package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// epoch says which daemon opened the store last, or was elected last.
type epoch struct {
	Epoch    int64     `json:"epoch"`
	Hostname string    `json:"hostname"`
	Since    time.Time `json:"since"`
	// Session is the leader's place in the line; empty in a store of its own.
	Session string `json:"session,omitempty"`
}

// claimEpoch makes this daemon the newest. From then on no other's write passes.
func (s *Store) claimEpoch(ctx context.Context, n *session) error {
	old, rev, err := getAt[epoch](ctx, s, keyEpoch)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read store epoch: %w", err)
	}
	t := &Tenure{session: n, epoch: epoch{Epoch: old.Epoch + 1, Hostname: s.hostname, Since: s.now().UTC(), Session: n.name()}}
	put, err := opPut(keyEpoch, t.epoch)
	if err != nil {
		return err
	}
	conditions, parent := []clientv3.Cmp{unchanged(keyEpoch, rev), unchanged(keyRestoring, 0)}, s.ctx
	if n != nil {
		conditions, parent = append(conditions, clientv3.Compare(clientv3.CreateRevision(n.key), "=", n.created)), n.ctx
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	resp, err := s.client.Txn(ctx).If(conditions...).Then(put).Commit()
	if err != nil {
		return fmt.Errorf("raise store epoch: %w", s.explain(err))
	}
	if !resp.Succeeded {
		return fmt.Errorf("raise store epoch: %w", ErrDeposed)
	}
	t.fence = resp.Header.Revision
	t.ctx, t.cancel = context.WithCancelCause(parent)
	s.tenure.Store(t)
	return nil
}

// change commits then if all conditions hold and no one has opened the store
// since. It is tried exactly once: after an error the outcome is unknown, and
// doing it again could undo what someone else did in between. False: a
// condition does not hold.
func (s *Store) change(ctx context.Context, conditions []clientv3.Cmp, then ...clientv3.Op) (rev int64, ok bool, err error) {
	t := s.tenure.Load()
	if t == nil {
		return 0, false, s.explain(ErrNotLeader)
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	conditions = append([]clientv3.Cmp{unchanged(keyEpoch, t.fence)}, conditions...)
	resp, err := s.client.Txn(ctx).If(conditions...).Then(then...).Else(clientv3.OpGet(keyEpoch)).Commit()
	if err != nil {
		return 0, false, s.explain(err)
	}
	if resp.Succeeded {
		return resp.Header.Revision, true, nil
	}
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) != 1 || kvs[0].GetModRevision() != t.fence {
		return 0, false, ErrDeposed
	}
	return 0, false, nil
}

// read gets several ranges at one revision, in one round trip.
func (s *Store) read(ctx context.Context, ops ...clientv3.Op) (rev int64, ranges [][]*mvccpb.KeyValue, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	resp, err := s.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return 0, nil, s.explain(err)
	}
	for _, r := range resp.Responses {
		ranges = append(ranges, r.GetResponseRange().GetKvs())
	}
	return resp.Header.Revision, ranges, nil
}

// bound ends ctx with the store, and in time where the store is elsewhere.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := s.bind(ctx)
	if s.patience == 0 {
		return ctx, cancel
	}
	ctx, late := context.WithTimeout(ctx, s.patience)
	return ctx, func() {
		late()
		cancel()
	}
}

// bind ends ctx with the store.
func (s *Store) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// explain replaces the client's "context canceled" by why the store ended.
func (s *Store) explain(err error) error {
	if cause := s.Err(); cause != nil {
		return cause
	}
	return err
}

// unchanged holds while key was last changed at rev; 0: while it does not exist.
func unchanged(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}

// unchangedSince holds while no key below prefix was put after rev. It does not
// see deletions.
func unchangedSince(prefix string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(prefix).WithPrefix(), "<", rev+1)
}

func exist(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
}

func opPut(key string, value any) (clientv3.Op, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("encode %s: %w", key, err)
	}
	return clientv3.OpPut(key, string(b)), nil
}

// decode reads one value; a value that is no such JSON is damage.
func decode[T any](kv *mvccpb.KeyValue) (T, error) {
	return decodeBytes[T](string(kv.GetKey()), kv.GetValue())
}

func decodeBytes[T any](key string, b []byte) (T, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("decode %s: %w", key, err)
	}
	return v, nil
}

func decodeAll[T any](kvs []*mvccpb.KeyValue) ([]T, error) {
	out := make([]T, 0, len(kvs))
	for _, kv := range kvs {
		v, err := decode[T](kv)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// getAt returns a value and the revision of its last change, or ErrNotFound.
func getAt[T any](ctx context.Context, s *Store, key string) (v T, rev int64, err error) {
	_, ranges, err := s.read(ctx, clientv3.OpGet(key))
	if err != nil {
		return v, 0, err
	}
	if len(ranges[0]) == 0 {
		return v, 0, ErrNotFound
	}
	v, err = decode[T](ranges[0][0])
	return v, ranges[0][0].GetModRevision(), err
}

func get[T any](ctx context.Context, s *Store, key string) (T, error) {
	v, _, err := getAt[T](ctx, s, key)
	return v, err
}
