package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cke/internal/cluster"
	"cke/internal/host"
)

// clientLock is the lock of all clusters' client certificates on the machine:
// two could be told the same directory. It is no cluster's name.
const clientLock = ".client"

// keptSuffix marks the copy of a file that was there before CKE's.
const keptSuffix = ".before-cke"

// clientRecord remembers what was put where. It is written before anything is
// put, and again when all of it is in its place.
type clientRecord struct {
	Cluster string              `json:"cluster"`
	Files   cluster.ClientFiles `json:"files"`
	// Former are directories that may still hold files of CKE's.
	Former []string `json:"former,omitempty"`
	// Made are the directories that were not there before.
	Made []string `json:"made,omitempty"`
	// Sums are the SHA-256 of all that CKE put, or was about to put: another file
	// of the same name is not CKE's.
	Sums []string `json:"sums"`
}

// maxSums bounds the record, however often putting fails.
const maxSums = 64

func sumOfFile(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (r clientRecord) put(f found) bool {
	return f.regular && slices.Contains(r.Sums, sumOfFile(f.content))
}

// directories are all that may hold files of CKE's.
func (r clientRecord) directories() []string {
	return append(slices.Clone(r.Former), r.Files.Directory)
}

// clientFile is one of the files that are to be in the directory.
type clientFile struct {
	name    string
	content []byte
	mode    fs.FileMode
}

// clientFiles are in the order of installing: the certificate directly behind
// its key.
func clientFiles(req host.PutClientFiles) []clientFile {
	return []clientFile{
		{cluster.ClientCAFile, req.CA, 0o644},
		{cluster.ClientKeyFile, req.Key, clientMode(req.Files.Mode)},
		{cluster.ClientCertFile, req.Cert, 0o644},
	}
}

// putClientFiles installs the API server's certificate in a directory that the
// machine allows. Every file is written and synced under another name first, so
// that key and certificate change within microseconds of each other.
func (a *Agent) putClientFiles(ctx context.Context, id host.Identity, req host.PutClientFiles) error {
	if err := checkClientFiles(req); err != nil {
		return err
	}
	unlock, err := a.begin(ctx, id, clientLock)
	if err != nil {
		return err
	}
	defer unlock()
	if err := errors.Join(a.allowDirectory(req.Files.Directory), a.clientVacant(req)); err != nil {
		return err
	}
	o, err := clientOwner(req.Files)
	if err != nil {
		return err
	}
	old, rec, err := a.intendClient(req)
	if err != nil {
		return err
	}
	changed, err := a.installClient(&rec, clientFiles(req), o)
	if err != nil {
		return fmt.Errorf("put client files: %w", err)
	}
	if changed {
		a.log.Info("put client files", "cluster", req.Cluster, "directory", req.Files.Directory)
	}
	if err := a.leaveFormer(&rec); err != nil {
		return err
	}
	rec.Sums = sumsOf(clientFiles(req))
	if same, err := sameJSON(old, rec); err != nil || same {
		return err
	}
	return a.writeClient(rec)
}

func sumsOf(files []clientFile) []string {
	var out []string
	for _, f := range files {
		out = append(out, sumOfFile(f.content))
	}
	return out
}

func sameJSON(a, b any) (bool, error) {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return string(x) == string(y), errors.Join(errX, errY)
}

func (a *Agent) writeClient(r clientRecord) error {
	return writeJSON(a.layout.clientRecord(r.Cluster), r)
}

// intendClient writes down what is about to be put, and returns the record as it
// was and as it is.
func (a *Agent) intendClient(req host.PutClientFiles) (old, now clientRecord, err error) {
	if _, err = readJSON(a.layout.clientRecord(req.Cluster), &old); err != nil {
		return old, now, err
	}
	now = clientRecord{Cluster: req.Cluster, Files: req.Files, Former: slices.Clone(old.Former), Made: slices.Clone(old.Made)}
	if before := old.Files.Directory; before != "" && !slices.Contains(now.Former, before) {
		now.Former = append(now.Former, before)
	}
	now.Former = slices.DeleteFunc(now.Former, func(d string) bool { return d == req.Files.Directory })
	now.Sums = slices.Clone(old.Sums)
	for _, s := range sumsOf(clientFiles(req)) {
		if !slices.Contains(now.Sums, s) {
			now.Sums = append(now.Sums, s)
		}
	}
	if over := len(now.Sums) - maxSums; over > 0 {
		// The first are of what was put last, and may well be in its place still.
		put := len(clientFiles(req))
		now.Sums = slices.Delete(now.Sums, put, put+over)
	}
	if same, err := sameJSON(old, now); err != nil || same {
		return old, now, err
	}
	if err := a.writeClient(now); err != nil {
		return old, now, err
	}
	a.reached("client:intent")
	return old, now, nil
}

// installClient says whether anything had to be changed.
func (a *Agent) installClient(rec *clientRecord, files []clientFile, o *owner) (changed bool, err error) {
	d, err := reachDir(a.layout.root, rec.Files.Directory, func(path string) error {
		below, err := filepath.Rel(a.layout.root, path)
		if err != nil {
			return err
		}
		if path = "/" + below; slices.Contains(rec.Made, path) {
			return nil
		}
		rec.Made = append(rec.Made, path)
		return a.writeClient(*rec)
	})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	var ready []clientFile
	for _, f := range files {
		differs, err := d.differs(f, o)
		if err != nil {
			return false, err
		}
		if !differs {
			continue
		}
		whose := o
		if f.name != cluster.ClientKeyFile {
			whose = nil
		}
		if err := d.stage(f.name, stagedName(f.name), f.content, f.mode, whose); err != nil {
			return false, err
		}
		ready = append(ready, f)
	}
	if len(ready) == 0 {
		return false, nil
	}
	a.reached("client:staged")
	for _, f := range ready {
		if err := d.keepForeign(f.name, *rec); err != nil {
			return false, err
		}
	}
	for _, f := range ready {
		if err := d.rename(stagedName(f.name), f.name); err != nil {
			return false, err
		}
		a.reached("client:" + f.name)
	}
	return true, d.sync()
}

func stagedName(name string) string { return ".cke-new-" + name }

// differs refuses what it would not know how to keep.
func (d rootsDir) differs(f clientFile, o *owner) (bool, error) {
	now, there, err := d.find(f.name)
	if err != nil || !there {
		return true, err
	}
	if !now.regular {
		return false, refuse(host.ForeignFile, "%s is no regular file: move it away, or name another directory", filepath.Join(d.path, f.name))
	}
	same := string(now.content) == string(f.content) && now.mode == f.mode
	if o != nil && f.name == cluster.ClientKeyFile {
		same = same && now.uid == o.uid && now.gid == o.gid
	}
	return !same, nil
}

// keepForeign leaves a copy of a file that CKE did not put there: kubeadm's own,
// of a local etcd, bears the same name.
func (d rootsDir) keepForeign(name string, rec clientRecord) error {
	now, there, err := d.find(name)
	if err != nil || !there || rec.put(now) {
		return err
	}
	return d.keep(name, name+keptSuffix)
}

// leaveFormer removes CKE's files from where they were before.
func (a *Agent) leaveFormer(rec *clientRecord) error {
	if len(rec.Former) == 0 {
		return nil
	}
	for _, path := range rec.Former {
		if err := a.removeClient(path, *rec); err != nil {
			return fmt.Errorf("remove client files: %w", err)
		}
	}
	a.reached("client:left")
	rec.Former = nil
	rec.Made = slices.DeleteFunc(rec.Made, func(path string) bool {
		_, err := os.Lstat(filepath.Join(a.layout.root, path))
		return errors.Is(err, fs.ErrNotExist)
	})
	return nil
}

// removeClient removes what is CKE's from one directory, and the directories
// that were made for it if nothing is left in them. Copies of what was there
// before stay.
func (a *Agent) removeClient(path string, rec clientRecord) error {
	d, err := reachDir(a.layout.root, path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return a.removeMade(rec)
	}
	var guard *host.GuardError
	if errors.As(err, &guard) {
		// It is another's now, and so is what lies in it.
		a.log.Warn("leave client files", "cluster", rec.Cluster, "directory", path, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range []string{cluster.ClientKeyFile, cluster.ClientCertFile, cluster.ClientCAFile} {
		now, there, err := d.find(name)
		if err == nil && there && rec.put(now) {
			err = d.unlink(name)
		}
		if err = errors.Join(err, d.unlink(stagedName(name))); err != nil {
			return errors.Join(err, d.close())
		}
	}
	if err := errors.Join(d.sync(), d.close()); err != nil {
		return err
	}
	return a.removeMade(rec)
}

func (a *Agent) removeMade(rec clientRecord) error {
	made := slices.Clone(rec.Made)
	slices.SortFunc(made, func(x, y string) int { return len(y) - len(x) })
	for _, path := range made {
		if strings.HasPrefix(rec.Files.Directory+"/", path+"/") {
			continue // in use
		}
		if err := removeIfEmpty(filepath.Join(a.layout.root, path)); err != nil {
			return err
		}
	}
	return nil
}

// purgeClient removes all client certificates that were put here.
func (a *Agent) purgeClient() error {
	records, err := names(a.layout.clientRecords())
	if err != nil {
		return err
	}
	for _, n := range records {
		path := filepath.Join(a.layout.clientRecords(), n)
		var rec clientRecord
		if _, err := readJSON(path, &rec); err != nil {
			return err
		}
		rec.Former = rec.directories()
		rec.Files = cluster.ClientFiles{}
		if err := a.leaveFormer(&rec); err != nil {
			return err
		}
		if err := remove(path); err != nil {
			return err
		}
	}
	a.reached("purge:client")
	return nil
}

// clientVacant refuses a directory that has another cluster's certificate: the
// names of the files are the same.
func (a *Agent) clientVacant(req host.PutClientFiles) error {
	records, err := names(a.layout.clientRecords())
	if err != nil {
		return err
	}
	for _, n := range records {
		var rec clientRecord
		if _, err := readJSON(filepath.Join(a.layout.clientRecords(), n), &rec); err != nil {
			return err
		}
		if rec.Cluster != req.Cluster && slices.Contains(rec.directories(), req.Files.Directory) {
			return refuse(host.InUse, "%s holds the client certificate of cluster %s: name another directory", req.Files.Directory, rec.Cluster)
		}
	}
	return nil
}

// clientOwner is whose the key will be; nil for an agent that can give files to
// nobody else.
func clientOwner(f cluster.ClientFiles) (*owner, error) {
	u, err := user.Lookup(f.Owner)
	var noUser user.UnknownUserError
	if errors.As(err, &noUser) {
		return nil, refuse(host.NoAccount, "the machine has no user %s: make it, or name another owner", f.Owner)
	}
	if err != nil {
		return nil, err
	}
	g, err := user.LookupGroup(f.Group)
	var noGroup user.UnknownGroupError
	if errors.As(err, &noGroup) {
		return nil, refuse(host.NoAccount, "the machine has no group %s: make it, or name another group", f.Group)
	}
	if err != nil {
		return nil, err
	}
	uid, errU := strconv.Atoi(u.Uid)
	gid, errG := strconv.Atoi(g.Gid)
	if err := errors.Join(errU, errG); err != nil || os.Geteuid() != 0 {
		return nil, err
	}
	return &owner{uid, gid}, nil
}
