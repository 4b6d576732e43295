package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// pendingFile becomes a file under its name only when it is whole and on disk.
// Until then, and unless changed, only its owner may read it.
type pendingFile struct {
	file *os.File
	name string
	done bool
}

func newPendingFile(name string) (*pendingFile, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.tmp")
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err // of a name the caller has never heard of
		}
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return &pendingFile{file: f, name: name}, nil
}

// keep gives the file its name. Without replace a file of that name stays, and
// the error is fs.ErrExist.
func (p *pendingFile) keep(replace bool) error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	if err := p.file.Close(); err != nil {
		return err
	}
	if replace {
		if err := os.Rename(p.file.Name(), p.name); err != nil {
			return err
		}
		p.done = true
	} else if err := os.Link(p.file.Name(), p.name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(p.name))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync directory of %s: %w", p.name, err)
	}
	return nil
}

// drop removes what was not kept.
func (p *pendingFile) drop() {
	if p.done {
		return
	}
	// What cannot be removed now is left under a name that says so.
	_ = p.file.Close()
	_ = os.Remove(p.file.Name())
}
