package cli

import (
	"strings"

	"cke/internal/api"
)

// printCertificate writes a certificate to stdout, or as files into the
// current directory, the key first: a certificate without its key is no use.
func (s *session) printCertificate(o *outputFlag, user string, c api.Certificate) error {
	if o.value == asJSON {
		return s.printJSON(c)
	}
	var names []string
	for _, f := range []struct {
		name, text string
		secret     bool
	}{
		{"etcd-" + user + ".key", c.PrivateKey, true},
		{"etcd-" + user + ".crt", c.Certificate, false},
		{"etcd-ca.crt", c.CACertificate, false},
	} {
		if err := writeFile(f.name, f.text, f.secret); err != nil {
			return err
		}
		names = append(names, f.name)
	}
	return s.write(strings.Join(names, "\n") + "\n")
}

func writeFile(name, text string, secret bool) error {
	p, err := newPendingFile(name)
	if err != nil {
		return err
	}
	defer p.drop()
	if _, err := p.file.WriteString(text); err != nil {
		return err
	}
	if !secret {
		if err := p.file.Chmod(0o644); err != nil {
			return err
		}
	}
	return p.keep(true)
}
