package observe

import (
	"bytes"
	"maps"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/pki"
)

// judgementHolds is how long what was found of the same files holds. Their
// signatures are most of what an idle look costs, and only time changes the
// verdict: what is due has months, what expires was renewed long before.
const judgementHolds = time.Minute

// judgement is what was found of a member's files, and of which.
type judgement struct {
	at     time.Time
	public map[host.FileKind][]byte
	fits   map[host.FileKind]bool
	domain string
	node   cluster.Node
	found  pki.Findings
}

func (j *judgement) holds(spec cluster.Spec, n cluster.Node, f host.Facts, now time.Time) bool {
	age := now.Sub(j.at)
	return age >= 0 && age < judgementHolds && j.domain == spec.ClusterDomain && j.node == n &&
		maps.Equal(j.fits, f.KeyFits) && maps.EqualFunc(j.public, f.Public, bytes.Equal)
}

// certificates says what is wrong with a member's files.
func (o *Observer) certificates(spec cluster.Spec, n cluster.Node, f host.Facts) pki.Findings {
	now := o.o.Now()
	o.judging.Lock()
	defer o.judging.Unlock()
	if j, ok := o.judged[n.Hostname]; ok && j.holds(spec, n, f, now) {
		return j.found
	}
	j := &judgement{at: now, public: f.Public, fits: f.KeyFits, domain: spec.ClusterDomain, node: n}
	j.found = pki.CheckMember(pki.MemberFiles{
		ServerCert: f.Public[host.ServerCert], PeerCert: f.Public[host.PeerCert],
		ClientCA: f.Public[host.ClientCA], PeerCA: f.Public[host.PeerCA], CRL: f.Public[host.ClientCRL],
		ServerKeyFits: f.KeyFits[host.ServerKey], PeerKeyFits: f.KeyFits[host.PeerKey],
	}, spec, n, o.o.Authority, now)
	o.judged[n.Hostname] = j
	return j.found
}
