package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"cke/test/lab"
)

// corrupt changes tenants' values in the database of a machine that is off for that.
// A member that served them would be found out by the tenants.
func (r *run) corrupt(m *lab.Machine) lab.Fault {
	return lab.Fault{
		Name:  "change the database on the disk of " + m.Name(),
		Break: func() error { return inOrder(m.Off, func() error { return r.change(m, logPrefix) }, m.On) },
	}
}

// corruptLate changes what no tenant reads, and has the member start while it cannot
// ask the others, so that it serves until they compare what they have compacted.
func (r *run) corruptLate(m *lab.Machine) lab.Fault {
	cut := lab.Cut(m)
	return lab.Fault{
		Name: "have " + m.Name() + " serve from a changed database",
		Break: func() error {
			if err := inOrder(r.clients.sound, m.Off, func() error { return r.change(m, soundKey) }, cut.Break, m.On); err != nil {
				return err
			}
			if r.changed > 0 {
				r.in.Eventually("the member has found nothing", func() error { return r.foundNothing(m) })
			}
			if err := cut.Heal(); err != nil || r.changed == 0 {
				return err
			}
			r.in.Eventually("etcd raises the alarm", func() (err error) {
				r.alarmed, err = r.clients.compacted(m.Name())
				return err
			})
			return nil
		},
		Heal: func() error { return errors.Join(cut.Heal(), r.clients.empty()) },
	}
}

// foundNothing: the member serves from its changed database. One that was taken out
// just before may not start at all, and is not waited for.
func (r *run) foundNothing(m *lab.Machine) error {
	err := journalSays(m, "initial corruption checking passed")
	if err == nil {
		return nil
	}
	if member, unknown := r.clients.isMember(m.Name()); unknown == nil && !member {
		return nil
	}
	return err
}

func journalSays(m *lab.Machine, words string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := m.Exec(ctx, "sh", "-c", "journalctl --boot --unit 'etcd-*' --no-pager | grep -q '"+words+"'")
	return err
}

// change changes the values of keys with this prefix in the databases on a machine's
// disk: none, if its member was taken out just before.
func (r *run) change(m *lab.Machine, prefix string) error {
	return m.EditDataDisk(func(root string) error {
		found, err := filepath.Glob(filepath.Join(root, "main/*/member/snap/db"))
		for _, path := range found {
			n, err := changeValues(path, prefix)
			if err != nil {
				return err
			}
			r.changed += n
		}
		return err
	})
}

// changeValues changes all values of such keys in a database, and says how many.
func changeValues(path, prefix string) (changed int, err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 10 * time.Second})
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.Update(func(tx *bolt.Tx) error {
		keys := tx.Bucket([]byte("key"))
		others := map[string][]byte{}
		if err := keys.ForEach(func(revision, value []byte) error {
			var kv mvccpb.KeyValue
			if err := proto.Unmarshal(value, &kv); err != nil {
				return err
			}
			if !bytes.HasPrefix(kv.Key, []byte(prefix)) || len(kv.Value) == 0 {
				return nil
			}
			kv.Value = bytes.ToUpper(kv.Value)
			other, err := proto.Marshal(&kv)
			others[string(revision)] = other
			return err
		}); err != nil {
			return err
		}
		for revision, other := range others {
			if err := keys.Put([]byte(revision), other); err != nil {
				return err
			}
		}
		changed = len(others)
		return nil
	})
	return changed, err
}
