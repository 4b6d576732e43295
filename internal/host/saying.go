package host

import (
	"strings"

	"cke/internal/cluster"
)

// maxSaying bounds one text of a machine's: it goes into records and views.
const maxSaying = 4 << 10

// saying is a text of a machine's as it may be kept and shown.
func saying(s string) string {
	if len(s) > maxSaying {
		s = strings.ToValidUTF8(s[:maxSaying], "") + "…"
	}
	return cluster.Plain(s)
}

// Saying is the text of an error that may quote a machine, as it may be kept
// and shown.
func Saying(err error) string { return saying(err.Error()) }

// trim brings everything in facts that people will read to what may be kept and
// shown.
func (f *Facts) trim() {
	all := []*string{&f.StoreID, &f.Proof, &f.Helper, &f.Hostname, &f.Runtime, &f.Arch}
	for i := range f.Versions {
		all = append(all, &f.Versions[i])
	}
	for i := range f.Foreign {
		all = append(all, &f.Foreign[i])
	}
	for i := range f.Aside {
		all = append(all, &f.Aside[i].Name)
	}
	if u := f.Unit; u != nil {
		all = append(all, &u.Exit, &u.Log, &u.NotMounted, &u.Overridden)
	}
	if g := f.Gateway; g != nil {
		all = append(all, &g.Exit)
	}
	if c := f.Client; c != nil {
		all = append(all, &c.Files.Directory, &c.Files.Owner, &c.Files.Group, &c.Files.Mode)
		for i := range c.Drift {
			all = append(all, &c.Drift[i])
		}
	}
	for _, s := range all {
		*s = saying(*s)
	}
}
