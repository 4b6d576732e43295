package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Restore makes the store at the other end of a link from a backup. There may be
// none yet, but for what an earlier Restore left that did not come to its end;
// while there is such, nobody can lead. Errors: ErrExists, *SchemaError,
// *SealKeyError.
func (l *Link) Restore(ctx context.Context, r io.Reader, sealer Sealer) error {
	if err := l.restore(ctx, r, sealer); err != nil {
		return fmt.Errorf("restore state into %s: %w", l.place, err)
	}
	return nil
}

func (l *Link) restore(ctx context.Context, r io.Reader, sealer Sealer) error {
	b, err := readBackup(r)
	if err != nil {
		return err
	}
	if err := b.check(sealer); err != nil {
		return err
	}
	if err := b.raiseEpoch(); err != nil {
		return err
	}
	b.forgetErrands()
	mark, err := l.markRestoring(ctx)
	if err != nil {
		return err
	}
	var puts []clientv3.Op
	size := 0
	for i, e := range b.entries {
		puts = append(puts, clientv3.OpPut(e.Key, string(e.Value)))
		size += len(e.Value)
		last := i+1 == len(b.entries)
		if size < putBatch && len(puts) < sharedBatch && !last {
			continue
		}
		if last {
			puts = append(puts, clientv3.OpDelete(keyRestoring))
		}
		if err := l.commit(ctx, mark, puts); err != nil {
			return fmt.Errorf("write entries: %w", err)
		}
		puts, size = nil, 0
	}
	return nil
}

// markRestoring makes the place this restore's alone, and empty.
func (l *Link) markRestoring(ctx context.Context) (mark string, err error) {
	mark = rand.Text()
	begun, err := l.try(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(root).WithPrefix(), "=", 0)}, clientv3.OpPut(keyRestoring, mark))
	if err != nil || begun {
		return mark, err
	}
	// An unfinished restore is begun anew; its own writes fail from then on.
	begun, err = l.try(ctx, []clientv3.Cmp{exist(keyRestoring)}, clientv3.OpPut(keyRestoring, mark))
	if err != nil {
		return "", err
	}
	if !begun {
		return "", ErrExists
	}
	return mark, l.commit(ctx, mark, []clientv3.Op{
		clientv3.OpDelete(root, clientv3.WithRange(keyRestoring)),
		clientv3.OpDelete(keyRestoring+"\x00", clientv3.WithRange(clientv3.GetPrefixRangeEnd(root))),
	})
}

func (l *Link) commit(ctx context.Context, mark string, ops []clientv3.Op) error {
	ours, err := l.try(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.Value(keyRestoring), "=", mark)}, ops...)
	if err == nil && !ours {
		err = errors.New("another restore into this place has begun")
	}
	return err
}

func (l *Link) try(ctx context.Context, conditions []clientv3.Cmp, then ...clientv3.Op) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	resp, err := l.client.Txn(ctx).If(conditions...).Then(then...).Commit()
	if err != nil {
		return false, err
	}
	return resp.Succeeded, nil
}

// RestoringError: a backup was being restored into the store and is not whole.
type RestoringError struct{ Place string }

func (e *RestoringError) Error() string {
	return e.Place + " is not whole: a restore of a backup into it has not come to its end"
}

// Hint says what to do.
func (e *RestoringError) Hint() string {
	return "wait for it, or run it again: cke --restore-state FILE"
}

// whole is an error while a restore is under way, or was interrupted.
func (s *Store) whole(ctx context.Context) error {
	_, ranges, err := s.read(ctx, clientv3.OpGet(keyRestoring, clientv3.WithKeysOnly()))
	if err == nil && len(ranges[0]) > 0 {
		err = &RestoringError{Place: s.place}
	}
	return err
}
