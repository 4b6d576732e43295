package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// staged is a file's new content, synced under a temporary name beside it.
type staged struct{ tmp, path string }

func stage(path string, b []byte, mode fs.FileMode, o *owner) (_ staged, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return staged{}, fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil && o != nil {
		err = f.Chown(o.uid, o.gid)
	}
	if err == nil {
		err = f.Sync()
	}
	return staged{f.Name(), path}, errors.Join(err, f.Close())
}

// put gives the file its content; that takes no room any more.
func (s staged) put() error {
	if err := os.Rename(s.tmp, s.path); err != nil {
		return errors.Join(err, os.Remove(s.tmp))
	}
	return syncDir(filepath.Dir(s.path))
}

// drop leaves the file as it is.
func (s staged) drop() error { return os.Remove(s.tmp) }

// writeAtomic replaces a file so that after a crash it is the old or the new one.
func writeAtomic(path string, b []byte, mode fs.FileMode) error {
	s, err := stage(path, b, mode, nil)
	if err != nil {
		return err
	}
	return s.put()
}

func writeJSON(path string, v any) error {
	s, err := stageJSON(path, v)
	if err != nil {
		return err
	}
	return s.put()
}

func stageJSON(path string, v any) (staged, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return staged{}, fmt.Errorf("encode %s: %w", path, err)
	}
	if err := mkdirs(filepath.Dir(path)); err != nil {
		return staged{}, err
	}
	return stage(path, append(b, '\n'), 0o600, nil)
}

// readJSON reports false when there is no such file.
func readJSON(path string, v any) (bool, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return true, nil
}

// remove is done when the file is gone for good; that it was not there is fine.
func remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// mkdirs makes a directory with its parents, and each entry durable.
func mkdirs(dir string) error {
	var parents []string
	for d := dir; ; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err == nil && info.IsDir() {
			break
		}
		parents = append(parents, filepath.Dir(d))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var g errgroup.Group
	for _, p := range parents {
		g.Go(func() error { return syncDir(p) })
	}
	return g.Wait()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// names lists a directory in order; one that is not there is empty.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Name()
	}
	return out, nil
}
