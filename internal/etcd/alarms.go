package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
)

// alarms adds what the member that speaks for all says of alarms, and what heals
// one of them depends on.
func (c *Client) alarms(ctx context.Context, via Endpoint, answers []answer, e *cluster.EtcdState) {
	i := slices.IndexFunc(answers, func(a answer) bool { return a.endpoint == via })
	if i < 0 || answers[i].statusErr != nil {
		return
	}
	st := answers[i].status
	for _, text := range st.Errors {
		if a, ok := parseAlarm(text); ok {
			e.Alarms = append(e.Alarms, a)
		}
	}
	if !e.Alarmed(cluster.AlarmNoSpace) {
		return
	}
	compacted, err := c.compacted(ctx, via, st.Header.Revision)
	if err != nil {
		e.Err = err.Error()
		return
	}
	e.Compaction = &cluster.Compaction{Revision: st.Header.Revision, Compacted: compacted}
}

// parseAlarm reads an alarm as a status has it among its errors (etcdserver
// api/v3rpc/maintenance.go, Status): the text form of etcd's AlarmMember.
func parseAlarm(text string) (cluster.Alarm, bool) {
	var a cluster.Alarm
	for _, field := range strings.Fields(text) {
		name, value, _ := strings.Cut(field, ":")
		switch name {
		case "memberID": // left out when it is 0
			id, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return a, false
			}
			a.Member = cluster.MemberID(id)
		case "alarm":
			a.Kind = value
		}
	}
	_, known := pb.AlarmType_value[a.Kind]
	return a, known
}

func alarmsOf(id cluster.MemberID, all []cluster.Alarm) []string {
	var kinds []string
	for _, a := range all {
		if a.Member == id {
			kinds = append(kinds, a.Kind)
		}
	}
	return kinds
}

// compacted is the oldest revision a member still has. etcd tells it nowhere
// without reading all data, but a read of anything older is refused: some thirty
// reads of nothing find it.
func (c *Client) compacted(ctx context.Context, ep Endpoint, newest int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	low, high := int64(1), newest // the oldest is in [low, high]
	for low < high {
		mid := low + (high-low)/2
		gone, err := c.isCompacted(ctx, ep, mid)
		if err != nil {
			return 0, err
		}
		if gone {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

func (c *Client) isCompacted(ctx context.Context, ep Endpoint, rev int64) (bool, error) {
	conn, err := c.conn(string(ep))
	if err != nil {
		return false, err
	}
	_, err = conn.Get(ctx, "\x00cke", clientv3.WithCountOnly(), clientv3.WithSerializable(), clientv3.WithRev(rev))
	if errors.Is(err, rpctypes.ErrCompacted) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read revision %d through %s: %w", rev, ep, err)
	}
	return false, nil
}

// Compact drops all history before a revision and returns when the member asked
// has freed the room; the others do so on their own. A revision that is compacted
// already is fine.
//
// It goes in two: a member counts the pages that were freed under a reader only when it
// writes again (storage/backend/backend.go, begin), and with NOSPACE nobody writes. What
// is left for the second is that write.
func (c *Client) Compact(ctx context.Context, ep Endpoint, rev int64) error {
	conn, err := c.conn(string(ep))
	if err != nil {
		return err
	}
	for _, to := range []int64{rev - 1, rev} {
		if to < 1 {
			continue
		}
		if _, err := conn.Compact(ctx, to, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
			return fmt.Errorf("compact to revision %d through %s: %w", to, ep, err)
		}
	}
	return nil
}

// Defragment has a member give free pages back to its file system. It answers
// nobody meanwhile. When ctx ends first, the member goes on all the same.
func (c *Client) Defragment(ctx context.Context, ep Endpoint) error {
	conn, err := c.conn(string(ep))
	if err != nil {
		return err
	}
	if _, err := conn.Defragment(ctx, string(ep)); err != nil {
		return fmt.Errorf("defragment %s: %w", ep, err)
	}
	return nil
}

// Disarm takes down every alarm of a kind.
func (c *Client) Disarm(ctx context.Context, ep Endpoint, kind string) error {
	conn, err := c.conn(string(ep))
	if err != nil {
		return err
	}
	list, err := conn.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("list alarms through %s: %w", ep, err)
	}
	for _, a := range list.Alarms {
		if a.Alarm.String() != kind {
			continue
		}
		if err := disarm(ctx, conn, a.MemberID, a.Alarm); err != nil {
			return fmt.Errorf("disarm %s of member %s through %s: %w", kind, cluster.MemberID(a.MemberID), ep, err)
		}
	}
	return nil
}

func disarm(ctx context.Context, conn *clientv3.Client, member uint64, kind pb.AlarmType) error {
	_, err := conn.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: member, Alarm: kind})
	return err
}

func isAlarm(text string) bool {
	_, is := parseAlarm(text)
	return is
}
