package agent

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cke/internal/cluster"
	"cke/internal/host"
)

// accountRE is what useradd(8) takes, and the few signs more that directories
// of users have.
var accountRE = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)

// maxDirectory bounds the path of a directory.
const maxDirectory = 1024

// clientMode is a mode that the key may have; zero for any other.
func clientMode(s string) fs.FileMode {
	return map[string]fs.FileMode{"0400": 0o400, "0440": 0o440, "0600": 0o600, "0640": 0o640}[s]
}

func checkClientFiles(req host.PutClientFiles) error {
	f := req.Files
	if err := errors.Join(checkCluster(req.Cluster), checkDirectory(f.Directory)); err != nil {
		return err
	}
	switch {
	case !accountRE.MatchString(f.Owner):
		return invalid("owner %.80q is not a user's name", f.Owner)
	case !accountRE.MatchString(f.Group):
		return invalid("group %.80q is not a group's name", f.Group)
	case clientMode(f.Mode) == 0:
		return invalid("mode %.80q is not 0600, 0640, 0400 or 0440", f.Mode)
	}
	for _, c := range []struct {
		name    string
		content []byte
		key     bool
	}{
		{cluster.ClientCAFile, req.CA, false},
		{cluster.ClientCertFile, req.Cert, false},
		{cluster.ClientKeyFile, req.Key, true},
	} {
		if err := checkPEM(c.content, c.key); err != nil {
			return invalid("%s: %s", c.name, err)
		}
	}
	if !fits(req.Cert, req.Key) {
		return invalid("%s does not belong to %s", cluster.ClientKeyFile, cluster.ClientCertFile)
	}
	return nil
}

// checkPEM wants nothing but PEM, and that as it is written by whoever writes it
// plainly. What a parser of PEM passes over may mean something to whoever reads
// other files of that directory: the kubelet runs what it finds in one.
func checkPEM(b []byte, key bool) error {
	var plain bytes.Buffer
	blocks := 0
	for rest := b; len(rest) > 0; blocks++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if key != strings.HasSuffix(block.Type, "PRIVATE KEY") || !key && block.Type != "CERTIFICATE" {
			return fmt.Errorf("has a block of type %.80q", block.Type)
		}
		if !key {
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return err
			}
		}
		if err := pem.Encode(&plain, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return err
		}
	}
	// The end of the last line may be missing, as some authorities leave it out.
	same := bytes.Equal(bytes.TrimRight(plain.Bytes(), "\n"), bytes.TrimRight(b, "\n"))
	if blocks == 0 || key && blocks != 1 || !same {
		return errors.New("is not PEM and nothing else")
	}
	return nil
}

// checkDirectory accepts a path that is its own shortest form.
func checkDirectory(path string) error {
	if len(path) > maxDirectory || !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" || !printable(path) {
		return invalid("directory %.80q is not an absolute path in its shortest form", path)
	}
	return nil
}

// allowedAlways is where kubeadm has its certificates.
const allowedAlways = "/etc/kubernetes"

// allowDirectory refuses what the machine does not allow. Its file is root's, as
// what sudo reads is: whoever may write to it decides where root writes.
func (a *Agent) allowDirectory(path string) error {
	allowed, err := a.allowedDirectories()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(allowed, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }) {
		return nil
	}
	return refuse(host.NotAllowed, "the machine allows client certificates in %s only, not in %s: to allow it, add a line with the directory to %s",
		strings.Join(allowed, ", "), path, a.layout.clientAllowed())
}

func (a *Agent) allowedDirectories() ([]string, error) {
	out := []string{allowedAlways}
	path := a.layout.clientAllowed()
	d, err := reachDir(a.layout.root, "etc/cke", nil)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.close() }() // nothing was written
	f, there, err := d.find(filepath.Base(path))
	if err != nil || !there {
		return out, err
	}
	if !f.regular {
		return nil, refuse(host.ForeignFile, "%s is no regular file", path)
	}
	if f.uid != os.Geteuid() && f.uid != 0 || f.mode&0o022 != 0 {
		return nil, refuse(host.NotRoots, "%s belongs to uid %d and has mode %04o: only root may write it (chown root:root %s && chmod go-w %s)",
			path, f.uid, f.mode, path, path)
	}
	n := 0
	for line := range strings.Lines(string(f.content)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if checkDirectory(line) != nil {
			return nil, refuse(host.NotAllowed, "%s, line %d: %.80q is not an absolute path in its shortest form", path, n, line)
		}
		out = append(out, line)
	}
	return out, nil
}
