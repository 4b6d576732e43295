package host

import (
	"net/netip"

	"cke/internal/cluster"
)

// The verbs: each is `POST /v1/<verb>` with one JSON value as the body, but for
// put-release, whose JSON is in a header and whose body is bytes. The answer is 200 with one JSON value, or another status with a Failure.
const (
	VerbFacts       = "facts"
	VerbPutFiles    = "put-files"
	VerbInstallUnit = "install-unit"
	VerbStartUnit   = "start-unit"
	VerbStopUnit    = "stop-unit"
	VerbRetireUnit  = "retire-unit"
	VerbClean       = "clean"
	VerbWaitUnit    = "wait-unit"
	VerbClaim       = "claim"
	VerbLog         = "log" // answers with text, not JSON

	VerbReleaseOffset  = "release-offset"
	VerbPutRelease     = "put-release"
	VerbPurge          = "purge"
	VerbReboot         = "reboot"
	VerbProgress       = "progress"
	VerbSends          = "sends"
	VerbPutGateway     = "put-gateway"
	VerbRemoveGateway  = "remove-gateway"
	VerbPutClientFiles = "put-client-files"
)

// The headers that carry the Identity of every request.
const (
	HeaderStore = "Cke-Store"
	HeaderEpoch = "Cke-Epoch"
	// HeaderElected is "true" or left out.
	HeaderElected = "Cke-Elected"
	// HeaderProof may be left out.
	HeaderProof = "Cke-Proof"
)

// FactsRequest is the body of facts. Without an address no port is looked at.
type FactsRequest struct {
	Cluster string     `json:"cluster"`
	Address netip.Addr `json:"address,omitzero"`
}

// ProgressAnswer is what progress answers.
type ProgressAnswer struct {
	Applied uint64 `json:"applied"`
}

// PeerRequest is the body of sends.
type PeerRequest struct {
	Cluster string           `json:"cluster"`
	Member  cluster.MemberID `json:"member"`
	Peer    cluster.MemberID `json:"peer"`
}

// SendsAnswer is what sends answers.
type SendsAnswer struct {
	Sends bool `json:"sends"`
}

// MemberRequest is the body of start-unit, retire-unit and progress.
type MemberRequest struct {
	Cluster string           `json:"cluster"`
	Member  cluster.MemberID `json:"member"`
}

// ClusterRequest is the body of clean.
type ClusterRequest struct {
	Cluster string `json:"cluster"`
}

// WaitRequest is the body of wait-unit.
type WaitRequest struct {
	Cluster string `json:"cluster"`
	Running bool   `json:"running"`
}

// MaxLogLines is how many of a log's last lines may be asked for.
const MaxLogLines = 10_000

// LogRequest asks for the last lines of a cluster's log on a machine, and with
// Follow for what comes as well.
type LogRequest struct {
	Cluster string `json:"cluster"`
	Lines   int    `json:"lines"`
	Follow  bool   `json:"follow,omitempty"`
}

// ClaimRequest is the body of claim; all it says is in the headers.
type ClaimRequest struct{}

// PurgeRequest is the body of purge; it is about the whole machine.
type PurgeRequest struct{}
