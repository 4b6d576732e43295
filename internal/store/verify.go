package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// Where etcd keeps its database and its log, below the store directory.
const (
	dbFile = "member/snap/db"
	logDir = "member/wal"
)

// revisionLength is a key of etcd's "key" bucket: two numbers and a separator,
// and one more byte on a deletion.
const revisionLength = 17

// verifyFiles reads the whole store without changing it. It finds what etcd
// would only find by ending the process, and one thing etcd would not find: a
// log that is cut short behind writes the database already has.
func verifyFiles(dir string) error {
	db := filepath.Join(dir, dbFile)
	log := filepath.Join(dir, logDir)
	haveDB, err := exists(db)
	if err != nil {
		return err
	}
	haveLog, err := exists(log)
	if err != nil || !haveDB && !haveLog {
		return err
	}
	if !haveDB {
		return &CorruptError{Path: db, Err: errors.New("the file is missing, its log is there")}
	}
	applied, keys, err := readDatabase(db)
	if err != nil {
		return &CorruptError{Path: db, Err: err}
	}
	if info, err := os.Stat(db); err != nil || haveLog && info.Size() == 0 {
		return &CorruptError{Path: db, Err: errors.Join(errors.New("the file is empty"), err)}
	}
	if !haveLog {
		if keys > 0 {
			return &CorruptError{Path: log, Err: errors.New("the log is missing, its database is there")}
		}
		return forgetFirstStart(dir)
	}
	last, committed, err := readLog(log)
	if err != nil {
		return &CorruptError{Path: log, Err: err}
	}
	if last < applied {
		return &CorruptError{Path: log, Err: fmt.Errorf("it ends at entry %d, the database has entry %d", last, applied)}
	}
	if committed == 0 && keys == 0 {
		return forgetFirstStart(dir)
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// forgetFirstStart clears away what a first start leaves when it is killed
// before it has committed anything: a database without keys, and no log, or one
// that does not yet say who the members are. On that etcd would wait for a
// leader for ever.
func forgetFirstStart(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, "member")); err != nil {
		return fmt.Errorf("clear away an unfinished first start: %w", err)
	}
	return nil
}

// readDatabase returns the last log entry the database has, and how many
// revisions of keys it holds.
func readDatabase(path string) (applied uint64, keys int, err error) {
	if info, serr := os.Stat(path); serr != nil || info.Size() == 0 {
		return 0, 0, serr
	}
	err = readPages(path, func(bucket, key, value []byte) error {
		switch {
		case string(bucket) == "meta" && string(key) == "consistent_index":
			if len(value) != 8 {
				return fmt.Errorf("consistent index has %d bytes", len(value))
			}
			applied = binary.BigEndian.Uint64(value)
		case string(bucket) == "key":
			keys++
			if len(key) != revisionLength && len(key) != revisionLength+1 {
				return fmt.Errorf("revision %x has %d bytes", key, len(key))
			}
			if err := proto.Unmarshal(value, &mvccpb.KeyValue{}); err != nil {
				return fmt.Errorf("revision %x: %w", key, err)
			}
		}
		return nil
	})
	return applied, keys, err
}

// readLog returns the index of the log's last entry, and up to where it is
// known to be committed. The end of the last file may be torn: that was never
// acknowledged.
func readLog(dir string) (last, committed uint64, err error) {
	defer func() {
		// The decoder panics where a record is whole but makes no sense.
		if r := recover(); r != nil {
			err = fmt.Errorf("read log: %v", r)
		}
	}()
	lg := zap.NewNop()
	snaps, err := wal.ValidSnapshotEntries(lg, dir)
	if err != nil {
		return 0, 0, err
	}
	start := &walpb.Snapshot{}
	if len(snaps) > 0 {
		start = snaps[len(snaps)-1]
	}
	w, err := wal.OpenForRead(lg, dir, start)
	if err != nil {
		return 0, 0, err
	}
	defer w.Close()
	_, state, entries, err := w.ReadAll()
	if err != nil {
		return 0, 0, err
	}
	if n := len(entries); n > 0 {
		return entries[n-1].GetIndex(), state.GetCommit(), nil
	}
	return start.GetIndex(), state.GetCommit(), nil
}
