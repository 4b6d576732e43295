package cluster

import (
	"fmt"
	"regexp"
	"strings"
)

// maxUserName keeps a user within a certificate's common name (RFC 5280: 64).
const maxUserName = 63

const maxPrefix = 1024

var userName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._@:-]*$`)

// ValidateUser says why a tenant cannot be, or nil. A name is a certificate's
// common name, an etcd user and role, and part of a file name; a prefix is any
// printable text, as etcd's keys need not start with a slash. Whether the
// prefix overlaps another tenant's is for the caller to ask, with Overlaps.
func ValidateUser(u User) error {
	if err := validateUserName(u.Name); err != nil {
		return err
	}
	switch {
	case u.Prefix == "":
		return fmt.Errorf("prefix is empty: it would give user %s every key", u.Name)
	case len(u.Prefix) > maxPrefix:
		return fmt.Errorf("prefix is %d bytes long; at most %d", len(u.Prefix), maxPrefix)
	case !printable(u.Prefix):
		return fmt.Errorf("prefix %q holds characters that are not printable", u.Prefix)
	case Overlaps(u.Prefix, APIServerPath):
		return fmt.Errorf("prefix %q overlaps %s, which belongs to user %s", u.Prefix, APIServerPath, APIServerUser)
	}
	return nil
}

func validateUserName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("user name is empty")
	case name == RootUser || name == APIServerUser:
		return fmt.Errorf("user name %s is reserved", name)
	case name == "ca":
		// A certificate is written to etcd-USER.crt, the CA's to etcd-ca.crt.
		return fmt.Errorf("user name ca is reserved: its certificate would share the file name of the CA's")
	case len(name) > maxUserName:
		return fmt.Errorf("user name %.20q... is %d characters long; at most %d", name, len(name), maxUserName)
	case !userName.MatchString(name):
		return fmt.Errorf("user name %q may hold only letters, digits and . _ @ : -, and starts with a letter or digit", name)
	}
	return nil
}

// Overlaps says whether some key starts with both prefixes.
func Overlaps(a, b string) bool {
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}
