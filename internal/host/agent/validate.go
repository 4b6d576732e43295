package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cke/internal/cluster"
	"cke/internal/host"
)

var (
	dnsLabel  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	versionRE = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})$`)
	tokenRE   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
	flagRE    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	envRE     = regexp.MustCompile(`^[A-Z_][A-Z0-9_]{0,63}$`)
)

// The bounds of what a unit may carry; far beyond use, so that nothing grows
// without end.
const (
	maxPeers = 64
	maxExtra = 64
	maxValue = 4096
	maxGrace = 10 * time.Minute
)

func invalid(format string, args ...any) error {
	return &host.InvalidError{Reason: fmt.Sprintf(format, args...)}
}

// Values in messages are cut: a request may be a megabyte of name.
func checkCluster(name string) error {
	if !dnsLabel.MatchString(name) {
		return invalid("cluster name %.80q is not a DNS label", name)
	}
	return nil
}

func checkMember(name string, m cluster.MemberID) error {
	if m == 0 {
		return invalid("no member id is given")
	}
	return checkCluster(name)
}

func checkAddress(a netip.Addr) error {
	if !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
		return invalid("address %q is not one a member can listen on", a)
	}
	return nil
}

// checkUnit accepts what argv can turn into flags without surprise.
func checkUnit(u cluster.Unit) error {
	if err := checkMember(u.Cluster, u.Member); err != nil {
		return err
	}
	if !dnsLabel.MatchString(string(u.Node)) {
		return invalid("node name %.80q is not a DNS label", u.Node)
	}
	if !versionRE.MatchString(u.Version) {
		return invalid("version %.80q is not of the form 3.7.3", u.Version)
	}
	if u.Quota < 0 {
		return invalid("quota %d is negative", u.Quota)
	}
	if r := u.Retention; r != 0 && (r < cluster.MinRetention || r > cluster.MaxRetention) {
		return invalid("retention %s is not between %s and %s", r, cluster.MinRetention, cluster.MaxRetention)
	}
	return errors.Join(checkAddress(u.Address), checkFounding(u), checkArgs(u.ExtraArgs), checkEnv(u.ExtraEnv))
}

func checkFounding(u cluster.Unit) error {
	f := u.Founding
	if f == nil {
		return nil
	}
	if !tokenRE.MatchString(f.Token) {
		return invalid("initial cluster token is not 1 to 128 of A-Za-z0-9._-")
	}
	if len(f.Peers) > maxPeers {
		return invalid("%d peers are more than %d", len(f.Peers), maxPeers)
	}
	for name, url := range f.Peers {
		if !dnsLabel.MatchString(string(name)) {
			return invalid("peer name %.80q is not a DNS label", name)
		}
		rest, ok := strings.CutPrefix(url, "https://")
		ap, err := netip.ParseAddrPort(rest)
		if !ok || err != nil || checkAddress(ap.Addr()) != nil || "https://"+ap.String() != url {
			return invalid("peer URL %.80q of %s is not of the form https://ADDRESS:PORT", url, name)
		}
	}
	own := cluster.URL(u.Address, cluster.PeerPort)
	if f.Peers[u.Node] != own {
		return invalid("the initial cluster says %.80q for %s, its own peer URL is %s", f.Peers[u.Node], u.Node, own)
	}
	// A joining member's id comes from the cluster; a founder's is derived.
	if id := cluster.BootstrapMemberID(f.Token, own); f.New && id != u.Member {
		return invalid("member id %s is not the one that the token and %s give: %s", u.Member, own, id)
	}
	return nil
}

func checkArgs(args map[string]string) error {
	if len(args) > maxExtra {
		return invalid("%d extra arguments are more than %d", len(args), maxExtra)
	}
	owned := cluster.OwnedFlags()
	for name, value := range args {
		switch {
		case !flagRE.MatchString(name):
			return invalid("extra argument %.80q is not a flag's name", name)
		case slices.Contains(owned, name):
			return invalid("extra argument %q is CKE's own to set", name)
		case !printable(value):
			return invalid("value of extra argument %q is too long or has control characters", name)
		}
	}
	return nil
}

func checkEnv(env map[string]string) error {
	if len(env) > maxExtra {
		return invalid("%d extra variables are more than %d", len(env), maxExtra)
	}
	for name, value := range env {
		switch {
		case !envRE.MatchString(name):
			return invalid("extra variable %.80q is not a variable's name", name)
		case strings.HasPrefix(name, "ETCD_"):
			return invalid("extra variable %q: etcd is configured by flags only", name)
		case strings.HasPrefix(name, "LD_"):
			return invalid("extra variable %q would load other code", name)
		case !printable(value):
			return invalid("value of extra variable %q is too long or has control characters", name)
		}
	}
	return nil
}

func printable(s string) bool {
	return len(s) <= maxValue && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || noncharacter(r)
	})
}

// noncharacter: a line of a unit file that has one of these code points is
// dropped by systemd as a whole, an ExecStart= too (Unicode, section 23.7).
func noncharacter(r rune) bool { return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe }

func checkGrace(d time.Duration) error {
	if d < 0 || d > maxGrace {
		return invalid("grace %s is not between 0 and %s", d, maxGrace)
	}
	return nil
}
