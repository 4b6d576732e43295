package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxBackup bounds what is read into memory; a store's quota is below it even
// in base64.
const maxBackup = 1 << 30

// backup is a whole, verified backup.
type backup struct {
	header  backupHeader
	entries []backupEntry
}

// readBackup reads all of r and believes none of it before the checksum fits.
func readBackup(r io.Reader) (backup, error) {
	var b backup
	all, err := io.ReadAll(io.LimitReader(r, maxBackup+1))
	if err != nil {
		return b, fmt.Errorf("read backup: %w", err)
	}
	if len(all) > maxBackup {
		return b, fmt.Errorf("read backup: it is longer than %d bytes", maxBackup)
	}
	lines, err := verifyTrailer(all)
	if err != nil {
		return b, fmt.Errorf("verify backup: %w", err)
	}
	if err := strictLine(lines[0], &b.header); err != nil {
		return b, fmt.Errorf("read backup's header: %w", err)
	}
	if b.header.Format != backupFormat || b.header.Version != backupVersion {
		return b, fmt.Errorf("backup has format %s %d, this cke reads %s %d",
			b.header.Format, b.header.Version, backupFormat, backupVersion)
	}
	b.entries = make([]backupEntry, len(lines)-1)
	last := ""
	for i, line := range lines[1:] {
		e := &b.entries[i]
		if err := strictLine(line, e); err != nil {
			return b, fmt.Errorf("read line %d of the backup: %w", i+2, err)
		}
		if !strings.HasPrefix(e.Key, root) || e.Key <= last {
			return b, fmt.Errorf("read line %d of the backup: key %q is out of place", i+2, e.Key)
		}
		last = e.Key
	}
	return b, nil
}

// verifyTrailer checks length, count and checksum, and returns the lines before
// the trailer, at least one.
func verifyTrailer(all []byte) ([][]byte, error) {
	if len(all) == 0 || all[len(all)-1] != '\n' {
		return nil, errors.New("it is cut short: the last line has no end")
	}
	at := bytes.LastIndexByte(all[:len(all)-1], '\n') + 1
	body, last := all[:at], all[at:]
	var t backupTrailer
	if err := strictLine(last[:len(last)-1], &t); err != nil {
		return nil, fmt.Errorf("it is cut short or damaged: the last line is no checksum: %w", err)
	}
	// Equal meaning is not enough: every flipped bit must be noticed.
	if again, err := json.Marshal(t); err != nil || !bytes.Equal(again, last[:len(last)-1]) {
		return nil, errors.Join(errors.New("its checksum line is damaged"), err)
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != t.SHA256 {
		return nil, errors.New("its checksum does not match: the file is damaged")
	}
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	if len(lines)-1 != t.Count {
		return nil, fmt.Errorf("it has %d entries of %d", len(lines)-1, t.Count)
	}
	return lines, nil
}

func strictLine(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
