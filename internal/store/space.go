package store

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// regainSpace lets a store that once reached its quota be written again: etcd
// keeps the alarm for ever, even when compaction has made room since.
func (s *Store) regainSpace(ctx context.Context) error {
	ctx, cancel := s.bind(ctx)
	defer cancel()
	alarms, err := s.client.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("read store alarms: %w", s.explain(err))
	}
	for _, a := range alarms.Alarms {
		if a.GetAlarm() != pb.AlarmType_NOSPACE {
			return fmt.Errorf("store %s has alarm %s", s.dir, a.GetAlarm())
		}
		s.log.Warn("store has reached its quota, compacting it", "dir", s.dir)
		if err := s.shrink(ctx, (*clientv3.AlarmMember)(a)); err != nil {
			return fmt.Errorf("regain space in store %s: %w", s.dir, s.explain(err))
		}
	}
	return nil
}

func (s *Store) shrink(ctx context.Context, alarm *clientv3.AlarmMember) error {
	resp, err := s.client.Get(ctx, keyEpoch)
	if err != nil {
		return err
	}
	if _, err := s.client.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return err
	}
	if _, err := s.client.Defragment(ctx, s.client.Endpoints()[0]); err != nil {
		return err
	}
	_, err = s.client.AlarmDisarm(ctx, alarm)
	return err
}
