package cluster

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// minVersion is the first release in which a tenant cannot get around RBAC or a
// certificate revocation list: both were bypassed in releases before.
func minVersion() [3]int { return [3]int{3, 6, 13} }

var (
	versionForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})$`)
	flagName    = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	envName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (s Spec) validateEtcd(ps *problems) {
	e := s.Etcd
	validateVersion(ps, e.Version)
	s.validateMembers(ps)
	if e.ReplaceAfter < minReplaceAfter {
		ps.add("etcd.replace_after", "replace_after %s is too short: at least %s", e.ReplaceAfter, minReplaceAfter)
	}
	if e.Quota < minQuota || e.Quota > maxQuota {
		ps.add("etcd.quota", "quota %s is not between %s and %s", e.Quota, minQuota, maxQuota)
	}
	if e.CompactionRetention < MinRetention || e.CompactionRetention > MaxRetention {
		ps.add("etcd.compaction_retention", "compaction_retention %s is not between %s and %s", e.CompactionRetention, MinRetention, MaxRetention)
	}
	e.Defrag.validate(ps)
	for _, k := range slices.Sorted(maps.Keys(e.ExtraArgs)) {
		if why := badArg(k, e.ExtraArgs[k]); why != "" {
			ps.add("etcd.extra_args."+k, "%s", why)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(e.ExtraEnv)) {
		if why := badEnv(k, e.ExtraEnv[k]); why != "" {
			ps.add("etcd.extra_env."+k, "%s", why)
		}
	}
}

func validateVersion(ps *problems, v string) {
	part := versionForm.FindStringSubmatch(v)
	if part == nil {
		ps.add("etcd.version", "version %.80q is not of the form 3.7.3", v)
		return
	}
	var got [3]int
	for i := range got {
		got[i], _ = strconv.Atoi(part[i+1]) // at most six digits
	}
	if want := minVersion(); slices.Compare(got[:], want[:]) < 0 {
		ps.add("etcd.version", "version %s is too old: at least 3.6.13, because users could get around their permissions and revoked certificates in releases before", v)
	}
	if got[0] > 3 {
		ps.add("etcd.version", "version %s is not known; the newest major version supported is 3", v)
	}
}

func (s Spec) validateMembers(ps *problems) {
	at, able := "etcd.members", s.controlPlaneNodes()
	switch m := s.Etcd.Members; {
	case m < 0:
		ps.add(at, "members %d is not a positive number; leave it out for all control-plane nodes", m)
		return
	case m > able && able > 0:
		ps.add(at, "members %d is more than there are nodes with control_plane: true (%d)", m, able)
		return
	case m == 0:
		at = "nodes"
	}
	voters := s.WantedVoters()
	if voters > 0 && voters%2 == 0 {
		ps.warn(at, "%d members tolerate no more failures than %d (%d) and need one more to agree; use an odd number",
			voters, voters-1, Tolerance(voters, voters))
	}
	if voters > maxVoters {
		ps.warn(at, "%d members make every write wait for %d; more than %d are not advised", voters, Quorum(voters), maxVoters)
	}
}

// badArg says why an extra flag cannot be passed to etcd, or nothing.
func badArg(name, value string) string {
	switch {
	case strings.HasPrefix(name, "-"):
		return "write extra_args without leading dashes: " + quote(strings.TrimLeft(name, "-"))
	case !flagName.MatchString(name):
		return "extra_args name " + quote(name) + " is not the name of an etcd flag, such as max-request-bytes"
	case slices.Contains(OwnedFlags(), name) || strings.HasPrefix(name, "discovery"):
		return "extra_args may not set " + quote(name) + ": CKE sets it itself or depends on its default"
	case !printable(value):
		return "the value of extra_args " + quote(name) + " holds characters that are not printable"
	}
	return ""
}

// badEnv says why a variable cannot be given to etcd, or nothing. Those that
// configure etcd behind its flags, load code into it or speak for its
// supervisor are not the operator's.
func badEnv(name, value string) string {
	switch {
	case !envName.MatchString(name):
		return "extra_env name " + quote(name) + " is not the name of an environment variable"
	case strings.HasPrefix(strings.ToUpper(name), "ETCD_"):
		return "extra_env may not set " + quote(name) + ": configure etcd through extra_args"
	case strings.HasPrefix(name, "LD_"), strings.HasPrefix(name, "LISTEN_"), name == "NOTIFY_SOCKET":
		return "extra_env may not set " + quote(name) + ": it belongs to the supervisor of etcd"
	case !printable(value):
		return "the value of extra_env " + quote(name) + " holds characters that are not printable"
	}
	return ""
}

// quote quotes at most 80 characters of a name for a message.
func quote(s string) string {
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80])
	}
	return strconv.Quote(s)
}
