package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Store says which etcd keeps cke's own state, in place of the one inside the
// daemon. Several daemons with the same store elect a leader.
type Store struct {
	// Endpoints are the members' client URLs: https://HOST:PORT, or on loopback
	// http://HOST:PORT too.
	Endpoints []string `yaml:"endpoints"`
	// CA, PEM, issued the members' certificates. Empty: one of the system's.
	CA string `yaml:"ca"`
	// Certificate and Key are cke's own, PEM; both or neither.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// Prefix is what every key of cke's begins with; default /cke/. No cke's lies
	// within another's.
	Prefix string `yaml:"prefix"`
}

// defaultPrefix is where the keys lie in a store of cke's own too.
const defaultPrefix = "/cke/"

func (s *Store) withDefaults() *Store {
	if s == nil || s.Prefix != "" {
		return s
	}
	filled := *s
	filled.Prefix = defaultPrefix
	return &filled
}

func (s *Store) validate(add adder) {
	if len(s.Endpoints) == 0 {
		add("store.endpoints", "endpoints is missing: it names the members of the etcd that keeps cke's state, like [https://10.77.0.5:2379]")
	}
	for i, e := range s.Endpoints {
		if why := badEndpoint(e); why != "" {
			add(fmt.Sprintf("store.endpoints[%d]", i), "endpoint %q %s; write it like https://10.77.0.5:2379", short(e), why)
		}
	}
	for _, f := range []struct{ path, value string }{
		{"store.ca", s.CA}, {"store.certificate", s.Certificate}, {"store.key", s.Key},
	} {
		if f.value != "" {
			absolute(add, f.path, f.value)
		}
	}
	switch {
	case s.Certificate == "" && s.Key != "":
		add("store.certificate", "certificate is missing: key belongs to one")
	case s.Certificate != "" && s.Key == "":
		add("store.key", "key is missing: it belongs to certificate")
	}
	if !strings.HasPrefix(s.Prefix, "/") || !strings.HasSuffix(s.Prefix, "/") || strings.Contains(s.Prefix, "//") || len(s.Prefix) < 2 {
		add("store.prefix", "prefix %q is not one of keys: write it like /cke/, with a slash before and behind", short(s.Prefix))
		return
	}
	if outer, beside := enclosing(s.Prefix); outer != "" {
		add("store.prefix", "prefix %q is among the keys of whatever cke has the prefix %q: its backups and restores would take these along; choose one beside it, like %s",
			short(s.Prefix), short(outer), short(beside))
	}
}

// enclosing is the prefix of another cke that one's keys would lie below, and one that
// would do. Every store's keys lie in a directory cke, so the prefix alone tells it,
// whichever of the two is there first and whatever this one may read.
func enclosing(prefix string) (outer, beside string) {
	keys := prefix
	if !strings.HasSuffix(keys, defaultPrefix) {
		keys = strings.TrimSuffix(keys, "/") + defaultPrefix
	}
	end := strings.Index(keys, defaultPrefix) + len(defaultPrefix)
	if end == len(keys) {
		return "", ""
	}
	for beside = keys; strings.Contains(beside, defaultPrefix); {
		beside = strings.Replace(beside, defaultPrefix, "/", 1)
	}
	return keys[:end], strings.TrimSuffix(beside, "/") + defaultPrefix
}

// badEndpoint says what is wrong with the URL of a member. Whoever can write to
// the store owns the clusters, so nothing goes over a network in the clear.
func badEndpoint(e string) string {
	u, err := url.Parse(e)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return "is not the URL of an etcd member"
	}
	if why := badHostPort(u.Host); why != "" {
		return why
	}
	switch u.Scheme {
	case "https":
		return ""
	case "http":
		host, _, err := net.SplitHostPort(u.Host)
		if a, pErr := netip.ParseAddr(host); err == nil && pErr == nil && a.IsLoopback() {
			return ""
		}
		return "is not encrypted; http is for loopback addresses"
	default:
		return "is not the URL of an etcd member"
	}
}
