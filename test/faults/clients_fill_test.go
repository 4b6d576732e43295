package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/test/drive"
	"cke/test/faults/history"
)

const (
	fillPrefix = "/filler/"
	fillPiece  = 256 << 10
	fillAtOnce = 4 // writes under way
)

// startFiller makes the user that uses more than its share.
func (c *clients) startFiller() {
	c.t.Helper()
	c.in.CLI("etcd", "user-add", "filler", fillPrefix)
	c.filler = c.connect(c.ctx, drive.TLS(c.t, c.in.UserCert("filler")), c.addresses)
}

// fill writes until etcd has no room: the same few keys over and over, or always
// others.
func (c *clients) fill(ctx context.Context, others bool) error {
	value := strings.Repeat("x", fillPiece)
	full := make(chan error, fillAtOnce)
	for i := range fillAtOnce {
		go func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%s%d", fillPrefix, i)
				if others {
					key = fmt.Sprintf("%s%d/%d", fillPrefix, i, time.Now().UnixNano())
				}
				put, cancel := context.WithTimeout(ctx, callTimeout)
				_, err := c.filler.Put(put, key, value)
				cancel()
				switch {
				case errors.Is(err, rpctypes.ErrNoSpace):
					full <- nil
					return
				case ctx.Err() != nil:
					full <- fmt.Errorf("fill the quota: %w after %d writes, the last: %v", ctx.Err(), n, err)
					return
				}
			}
		}()
	}
	var errs []error
	for range fillAtOnce {
		errs = append(errs, <-full)
	}
	return errors.Join(errs...)
}

// fillOnce fills once.
func (c *clients) fillOnce() error {
	ctx, cancel := context.WithTimeout(c.ctx, settling)
	defer cancel()
	return c.fill(ctx, false)
}

// overfill goes on writing whenever etcd lets it, until it is ended: then it deletes
// everything.
func (c *clients) overfill() (begin, end func() error) {
	ctx, stop := context.WithCancel(c.ctx)
	over := make(chan struct{})
	begun := false
	begin = func() error {
		first, cancel := context.WithTimeout(ctx, settling)
		defer cancel()
		if err := c.fill(first, true); err != nil {
			return err
		}
		begun = true
		go func() {
			defer close(over)
			for ctx.Err() == nil {
				_ = c.fill(ctx, true) // it ends when ctx does
				select {
				case <-ctx.Done():
				case <-time.After(opEvery):
				}
			}
		}()
		return nil
	}
	end = func() error {
		stop()
		if begun {
			<-over
		}
		return c.empty()
	}
	return begin, end
}

// empty deletes what was filled in, as its owner.
func (c *clients) empty() error {
	ctx, cancel := context.WithTimeout(c.ctx, settling) // with CORRUPT until its member is out
	defer cancel()
	for {
		call, done := context.WithTimeout(ctx, callTimeout)
		_, err := c.filler.Delete(call, fillPrefix, clientv3.WithPrefix())
		done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("delete what was filled in: %w", err)
		case <-time.After(opEvery):
		}
	}
}

// soundKey is one of the filler's that nobody reads.
const soundKey = fillPrefix + "sound"

// sound puts it.
func (c *clients) sound() error {
	c.t.Helper()
	c.in.Eventually("a value to be changed", func() error {
		ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
		defer cancel()
		_, err := c.filler.Put(ctx, soundKey, "sound")
		return err
	})
	return nil
}

// compacted drops the history, which has members compare it, and says why there is no
// alarm CORRUPT yet, nor the member gone that it is about.
func (c *clients) compacted(node string) (alarm bool, err error) {
	c.t.Helper()
	c.keepLog()
	root := c.reading()
	ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
	defer cancel()
	if member, err := c.isMember(node); !member {
		return false, err
	}
	alarms, err := root.AlarmList(ctx)
	if err != nil {
		return false, err
	}
	if slices.ContainsFunc(alarms.Alarms, func(a *etcdserverpb.AlarmMember) bool { return a.Alarm == etcdserverpb.AlarmType_CORRUPT }) {
		return true, nil
	}
	upTo := c.reader.next - 1
	c.compactions = append(c.compactions, history.Gap{From: upTo, To: upTo})
	if _, err := root.Compact(ctx, upTo); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return false, err
	}
	return false, errors.New("no alarm yet")
}

// isMember says whether etcd knows a member of this name.
func (c *clients) isMember(node string) (bool, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
	defer cancel()
	members, err := c.reading().MemberList(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(members.Members, func(m *etcdserverpb.Member) bool { return m.Name == node }), nil
}
