package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	backupFormat  = "cke-state-backup"
	backupVersion = 1
	backupPage    = 200 // keys read at a time
)

// A backup is lines of JSON: a header, an entry per key in order of the keys,
// and a trailer whose checksum covers every byte before its line.
type backupHeader struct {
	Format    string    `json:"format"`
	Version   int       `json:"version"`
	Schema    int       `json:"schema"`
	StoreID   string    `json:"store_id"`
	SealKeyID string    `json:"seal_key_id"`
	Epoch     int64     `json:"epoch"`
	Created   time.Time `json:"created"`
	Revision  int64     `json:"revision"`
}

type backupEntry struct {
	Key   string `json:"key"`
	Value []byte `json:"value"` // base64; authorities as sealed in the store
}

type backupTrailer struct {
	Count  int    `json:"count"`
	SHA256 string `json:"sha256"`
}

// Backup writes everything CKE knows, as of one revision, to w. Authorities
// stay sealed: to restore, the seal key is needed too.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if err := s.backup(ctx, w); err != nil {
		return fmt.Errorf("back up state: %w", err)
	}
	return nil
}

func (s *Store) backup(ctx context.Context, w io.Writer) error {
	version, err := get[schema](ctx, s, keySchema)
	if err != nil {
		return err
	}
	id, err := get[string](ctx, s, keyStoreID)
	if err != nil {
		return err
	}
	ep, err := get[epoch](ctx, s, keyEpoch)
	if err != nil {
		return err
	}
	rev, err := s.revision(ctx)
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(w)
	sum := sha256.New()
	lines := json.NewEncoder(io.MultiWriter(buf, sum))
	err = lines.Encode(backupHeader{
		Format: backupFormat, Version: backupVersion, Schema: version.Version,
		StoreID: id, SealKeyID: s.sealer.ID(), Epoch: ep.Epoch, Created: s.now().UTC(), Revision: rev,
	})
	if err != nil {
		return err
	}
	count, err := s.writeEntries(ctx, lines, rev)
	if err != nil {
		return err
	}
	err = json.NewEncoder(buf).Encode(backupTrailer{Count: count, SHA256: hex.EncodeToString(sum.Sum(nil))})
	if err != nil {
		return err
	}
	return buf.Flush()
}

func (s *Store) writeEntries(ctx context.Context, lines *json.Encoder, rev int64) (count int, err error) {
	end := clientv3.GetPrefixRangeEnd(root)
	for from := root; ; {
		_, ranges, err := s.read(ctx, clientv3.OpGet(from,
			clientv3.WithRange(end), clientv3.WithRev(rev), clientv3.WithLimit(backupPage)))
		if err != nil {
			return count, err
		}
		for _, kv := range ranges[0] {
			key := string(kv.GetKey())
			from = key + "\x00"
			if strings.HasPrefix(key, allLeaders) {
				continue
			}
			if err := lines.Encode(backupEntry{Key: key, Value: kv.GetValue()}); err != nil {
				return count, err
			}
			count++
		}
		if len(ranges[0]) < backupPage {
			return count, nil
		}
	}
}
