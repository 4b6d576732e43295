package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"cke/internal/cluster"
	"cke/internal/host"
)

// clientFacts compares what lies in the directory with what was put there.
func (a *Agent) clientFacts(_ context.Context, req host.FactsRequest, f *host.Facts) error {
	var rec clientRecord
	known, err := readJSON(a.layout.clientRecord(req.Cluster), &rec)
	if err != nil || !known {
		return err
	}
	f.Client = &host.ClientFacts{Files: rec.Files}
	d, err := reachDir(a.layout.root, rec.Files.Directory, nil)
	var guard *host.GuardError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Client.Drift = []string{rec.Files.Directory + " is missing"}
		return nil
	case errors.As(err, &guard):
		f.Client.Drift = []string{guard.Reason}
		return nil
	case err != nil:
		return err
	}
	defer func() { _ = d.close() }() // nothing was written
	return lookAtClient(f.Client, d)
}

// clientLook is what is found of the files.
type clientLook struct {
	*host.ClientFacts
	dir rootsDir
}

func lookAtClient(c *host.ClientFacts, d rootsDir) error {
	l := clientLook{c, d}
	var err error
	if c.CA, err = l.content(cluster.ClientCAFile, 0o644); err != nil {
		return err
	}
	if c.Cert, err = l.content(cluster.ClientCertFile, 0o644); err != nil {
		return err
	}
	key, err := l.content(cluster.ClientKeyFile, clientMode(c.Files.Mode))
	c.KeyFits = fits(c.Cert, key)
	return err
}

// content is empty for what is no file; what else is not as it was put is said.
func (l clientLook) content(name string, mode fs.FileMode) ([]byte, error) {
	drifts := func(format string, args ...any) { l.Drift = append(l.Drift, name+" "+fmt.Sprintf(format, args...)) }
	f, there, err := l.dir.find(name)
	switch {
	case err != nil:
		return nil, err
	case !there:
		drifts("is missing")
		return nil, nil
	case !f.regular:
		drifts("is no regular file")
		return nil, nil
	case f.mode != mode:
		drifts("is %04o, not %04o", f.mode, mode)
	}
	if name != cluster.ClientKeyFile || os.Geteuid() != 0 {
		return f.content, nil
	}
	o, err := clientOwner(l.Files)
	var guard *host.GuardError
	switch {
	case errors.As(err, &guard):
		drifts("is to belong to %s:%s: %s", l.Files.Owner, l.Files.Group, guard.Reason)
	case err != nil:
		return nil, err
	case o.uid != f.uid || o.gid != f.gid:
		drifts("belongs to %d:%d, not to %s:%s (%d:%d)", f.uid, f.gid, l.Files.Owner, l.Files.Group, o.uid, o.gid)
	}
	return f.content, nil
}
