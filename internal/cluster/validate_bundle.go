package cluster

import (
	"fmt"
	"strings"
	"time"

	"cke/internal/units"
)

// MinBundleTTL keeps the renewal of a certificate in a Secret well apart from its
// end, also when Kubernetes cannot be told for a while.
const MinBundleTTL = units.Duration(time.Hour)

// ValidateBundle says why a bundle cannot be, or nil. Whether its user is there is
// for the caller to ask.
func ValidateBundle(b Bundle) error {
	switch {
	case b.User == RootUser:
		return fmt.Errorf("root's certificate is handed to nobody: a bundle is of a user with a prefix of its own")
	case b.User == APIServerUser:
		return fmt.Errorf("%s gets its certificate as a file on its own machine (apiserver: true), never as a Secret", APIServerUser)
	case !isDNSLabel(b.Namespace):
		return fmt.Errorf("namespace %.80q is not a DNS label: up to 63 of a-z, 0-9 and -, not at either end", b.Namespace)
	case !isObjectName(b.Name):
		return fmt.Errorf("name %.80q is no name of a Secret: DNS labels (a-z, 0-9 and -) with dots between, at most %d characters", b.Name, maxDNSName)
	case b.TTL < MinBundleTTL:
		return fmt.Errorf("ttl %s is too short: at least %s", b.TTL, MinBundleTTL)
	}
	return nil
}

// isObjectName goes by Kubernetes, which bounds the whole and not each label.
func isObjectName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !dnsLabel.MatchString(label) {
			return false
		}
	}
	return len(s) <= maxDNSName
}

// BundleName is what a user's Secret is called unless a person chooses: a user's
// name may hold what a Secret's may not.
func BundleName(user string) string {
	return "etcd-" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, strings.TrimRight(user, "._@:-"))
}
