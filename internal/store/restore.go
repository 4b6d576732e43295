package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// epochJump is far more than a store was ever opened after its backup was
	// made: hosts refuse an epoch below the highest they saw.
	epochJump = 1 << 20
	// restoring names what is not a store yet.
	restoring = "store.restoring-"
	// putBatch keeps a transaction well below etcd's 1.5 MiB.
	putBatch = 512 << 10
)

// Restore makes a store in the data directory dir from a backup. Dir may hold
// no store. The whole backup is verified first, the seal key tried on every
// sealed value; until all is on disk nothing in dir looks like a store.
// Errors: ErrExists, *LockedError, *SchemaError, *SealKeyError.
func Restore(ctx context.Context, dir string, r io.Reader, sealer Sealer, log *slog.Logger) error {
	if err := restore(ctx, dir, r, sealer, log); err != nil {
		return fmt.Errorf("restore state into %s: %w", dir, err)
	}
	return nil
}

func restore(ctx context.Context, dir string, r io.Reader, sealer Sealer, log *slog.Logger) (err error) {
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
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if there, err := exists(storeDir(dir)); err != nil {
		return err
	} else if there {
		return fmt.Errorf("%s: %w", storeDir(dir), ErrExists)
	}
	if err := removeUnfinishedRestores(dir); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, restoring)
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := b.fill(ctx, tmp, log); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := syncTree(tmp); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, storeDir(dir)); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return syncDir(dir)
}

// check tries the schema, and the key on all that is sealed.
func (b backup) check(sealer Sealer) error {
	if newest := len(migrations()); b.header.Schema > newest {
		return &SchemaError{What: "backup", Have: b.header.Schema, Know: newest}
	}
	if b.header.SealKeyID != sealer.ID() {
		return &SealKeyError{What: "backup", Want: b.header.SealKeyID, Have: sealer.ID()}
	}
	for _, e := range b.entries {
		if isSealed(e.Key) {
			if _, err := sealer.Open(e.Value, e.Key); err != nil {
				return fmt.Errorf("unseal %s: %w", e.Key, err)
			}
		}
	}
	return nil
}

func (b backup) raiseEpoch() error {
	for i, e := range b.entries {
		if e.Key != keyEpoch {
			continue
		}
		var ep epoch
		if err := json.Unmarshal(e.Value, &ep); err != nil {
			return fmt.Errorf("decode %s: %w", keyEpoch, err)
		}
		// Two restores of the same backup must not share an epoch either.
		ep.Epoch = max(ep.Epoch+epochJump, time.Now().Unix())
		raised, err := json.Marshal(ep)
		b.entries[i].Value = raised
		return err
	}
	return fmt.Errorf("the backup has no %s", keyEpoch)
}

// forgetErrands leaves out what a person wanted done once at the time of the backup:
// that machines are rebooted, and members defragmented. Whoever still wants it says
// so again. A node that was drained for a reboot is put into service by the loop.
func (b *backup) forgetErrands() {
	b.entries = slices.DeleteFunc(b.entries, func(e backupEntry) bool {
		_, kind, ok := splitKey(e.Key)
		return ok && (kind == "reboot" || kind == "defrag")
	})
}

// fill makes an etcd in dir that holds the entries.
func (b backup) fill(ctx context.Context, dir string, log *slog.Logger) (err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	e, err := startEmbedded(ctx, dir, quotaBytes, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.stop()) }()
	var puts []clientv3.Op
	size := 0
	for i, entry := range b.entries {
		puts = append(puts, clientv3.OpPut(entry.Key, string(entry.Value)))
		if size += len(entry.Value); size < putBatch && len(puts) < maxTxnOps/2 && i+1 < len(b.entries) {
			continue
		}
		if _, err := e.client.Txn(ctx).Then(puts...).Commit(); err != nil {
			return fmt.Errorf("write entries: %w", err)
		}
		puts, size = nil, 0
	}
	return nil
}

// removeUnfinishedRestores clears away what a killed restore left. The caller
// holds the lock.
func removeUnfinishedRestores(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for unfinished restores: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), restoring) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("clear away an unfinished restore: %w", err)
			}
		}
	}
	return nil
}
