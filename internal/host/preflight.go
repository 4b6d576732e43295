package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	"cke/internal/cluster"
)

// The verbs of a preflight. None changes what a machine is or remembers, and
// each is bounded in time.
const (
	VerbPreflight   = "preflight"
	VerbReachPeers  = "reach-peers"
	VerbAnswerPeers = "answer-peers"
)

// ReachPeers asks a machine to connect to others.
type ReachPeers struct {
	Cluster string `json:"cluster"`
	// Token is what those that answer for the purpose greet with.
	Token string `json:"token"`
	Peers []Peer `json:"peers"`
}

// Peer is another machine, tried at its members' ports.
type Peer struct {
	Address netip.Addr `json:"address"`
	// Greets are the ports at which it listens for this very purpose: who
	// answers there without the token is another machine.
	Greets []uint16 `json:"greets,omitempty"`
}

// AnswerPeers asks a machine to listen where a member would.
type AnswerPeers struct {
	Cluster string     `json:"cluster"`
	Address netip.Addr `json:"address"`
	Token   string     `json:"token"`
}

// Answering is what a machine says once it listens; it does until the caller
// ends the call.
type Answering struct {
	// Ports are those nothing else listens on.
	Ports []uint16 `json:"ports"`
}

// Preflight implements Host.
func (c *Client) Preflight(ctx context.Context, name string, address netip.Addr) (cluster.Machine, error) {
	var m cluster.Machine
	err := c.call(ctx, VerbPreflight, FactsRequest{Cluster: name, Address: address}, &m)
	return m, err
}

// ReachPeers implements Host.
func (c *Client) ReachPeers(ctx context.Context, req ReachPeers) ([]cluster.Reach, error) {
	var r []cluster.Reach
	err := c.call(ctx, VerbReachPeers, req, &r)
	return r, err
}

// AnswerPeers implements Host.
func (c *Client) AnswerPeers(ctx context.Context, req AnswerPeers, listening func(Answering)) error {
	resp, err := c.ask(ctx, VerbAnswerPeers, req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the answer is read or given up below
	var a Answering
	body := http.MaxBytesReader(nil, resp.Body, maxAnswer)
	if err := json.NewDecoder(body).Decode(&a); err != nil {
		return fmt.Errorf("%s: read the answer: %w", VerbAnswerPeers, err)
	}
	listening(a)
	if _, err := io.Copy(io.Discard, body); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: read the answer: %w", VerbAnswerPeers, err)
	}
	return nil
}
