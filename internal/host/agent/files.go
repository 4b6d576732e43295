package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"cke/internal/host"
)

// pairs are the certificates with a key of their own.
func pairs() map[host.FileKind]host.FileKind {
	return map[host.FileKind]host.FileKind{host.ServerKey: host.ServerCert, host.PeerKey: host.PeerCert}
}

// order is that of installing: a certificate directly behind its key.
func order() []host.FileKind {
	return []host.FileKind{
		host.ClientCA, host.PeerCA, host.ClientCRL,
		host.ServerKey, host.ServerCert, host.PeerKey, host.PeerCert,
	}
}

// putFiles stages and syncs every file first and renames them afterwards, so
// that a key and its certificate become visible within microseconds of each
// other. etcd reads both at each handshake: one that falls in between fails and
// is repeated by its client. A crash in between leaves a pair that does not
// fit, which Facts tells (KeyFits) and the same request repairs.
func (a *Agent) putFiles(ctx context.Context, id host.Identity, req host.PutFiles) error {
	if err := checkCluster(req.Cluster); err != nil {
		return err
	}
	if err := checkFiles(req.Files); err != nil {
		return err
	}
	unlock, err := a.begin(ctx, id, req.Cluster)
	if err != nil {
		return err
	}
	defer unlock()
	o, err := a.runtime.owner(ctx)
	if err != nil {
		return err
	}
	if err := mkdirs(a.layout.pki(req.Cluster)); err != nil {
		return err
	}
	if o != nil {
		if err := o.letPass(a.layout.root, a.layout.pki(req.Cluster), a.layout.config(req.Cluster)); err != nil {
			return err
		}
	}
	if err := a.authoritiesChange(ctx, req); err != nil {
		return err
	}
	ready, err := a.stageChanged(req, o)
	if err != nil {
		return errors.Join(err, unstage(ready))
	}
	for i, s := range ready {
		if err := os.Rename(s.tmp, s.path); err != nil {
			return errors.Join(err, unstage(ready[i:]))
		}
	}
	if len(ready) == 0 {
		return nil
	}
	a.log.Info("put files", "cluster", req.Cluster, "files", len(ready))
	return syncDir(a.layout.pki(req.Cluster))
}

// stageChanged syncs the new files all at once: one journal commit of the file
// system serves many that wait together.
func (a *Agent) stageChanged(req host.PutFiles, o *owner) ([]staged, error) {
	kinds := slices.DeleteFunc(order(), func(k host.FileKind) bool {
		b, ok := req.Files[k]
		if !ok {
			return true
		}
		old, err := os.ReadFile(a.layout.file(req.Cluster, k))
		_, isKey := pairs()[k]
		return err == nil && slices.Equal(old, b) && (!isKey || o.owns(a.layout.file(req.Cluster, k)))
	})
	all := make([]staged, len(kinds))
	var g errgroup.Group
	for i, k := range kinds {
		g.Go(func() error {
			mode, whose := fs.FileMode(0o644), (*owner)(nil)
			if _, isKey := pairs()[k]; isKey {
				mode, whose = 0o600, o
			}
			s, err := stage(a.layout.file(req.Cluster, k), req.Files[k], mode, whose)
			if err == nil {
				all[i] = s // a failed one has removed itself
			}
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(all, func(s staged) bool { return s.tmp == "" }), err
}

func unstage(files []staged) error {
	var errs []error
	for _, s := range files {
		errs = append(errs, os.Remove(s.tmp))
	}
	return errors.Join(errs...)
}

// checkFiles refuses what etcd could not use: it would serve nobody with it.
func checkFiles(files map[host.FileKind][]byte) error {
	if len(files) == 0 {
		return invalid("no files are given")
	}
	for k, b := range files {
		if !slices.Contains(order(), k) {
			return invalid("file kind %.80q is unknown", k)
		}
		if err := checkContent(k, b); err != nil {
			return invalid("%s: %s", k, err)
		}
	}
	for key, cert := range pairs() {
		k, hasKey := files[key]
		c, hasCert := files[cert]
		if hasKey != hasCert {
			return invalid("%s and %s must come together", key, cert)
		}
		if hasKey && !fits(c, k) {
			return invalid("%s does not belong to %s", key, cert)
		}
	}
	return nil
}

func checkContent(k host.FileKind, b []byte) error {
	switch k {
	case host.ClientCRL:
		// etcd parses DER only, and refuses everybody with anything else.
		if _, err := x509.ParseRevocationList(b); err != nil {
			return fmt.Errorf("not a revocation list in DER: %w", err)
		}
	case host.ClientCA, host.PeerCA:
		block, _ := pem.Decode(b)
		if block == nil || block.Type != "CERTIFICATE" {
			return errors.New("not a certificate in PEM")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return err
		}
	}
	return nil
}

func fits(cert, key []byte) bool {
	_, err := tls.X509KeyPair(cert, key)
	return err == nil
}

// keyCache remembers whether a key fits, until one of the two files changes.
type keyCache struct {
	mu   sync.Mutex
	seen map[string]keyVerdict
}

type keyVerdict struct {
	cert, key fileID
	fits      bool
}

// fits says whether a key file belongs to its certificate file. Files that are
// not there fit nothing.
func (c *keyCache) fits(certPath, keyPath string) (bool, error) {
	cert, err := identifyIfThere(certPath)
	if err != nil {
		return false, err
	}
	key, err := identifyIfThere(keyPath)
	if err != nil || cert == (fileID{}) || key == (fileID{}) {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.seen[keyPath]; ok && v.cert == cert && v.key == key {
		return v.fits, nil
	}
	certPEM, err := os.ReadFile(certPath)
	if err != nil {
		return false, err
	}
	keyPEM, err := os.ReadFile(keyPath)
	if err != nil {
		return false, err
	}
	if c.seen == nil {
		c.seen = map[string]keyVerdict{}
	}
	v := keyVerdict{cert, key, fits(certPEM, keyPEM)}
	c.seen[keyPath] = v
	return v.fits, nil
}
