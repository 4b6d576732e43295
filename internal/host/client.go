package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"cke/internal/cluster"
)

// Client is a Host behind HTTP. The transport below it decides where.
type Client struct {
	http  *http.Client
	id    func() Identity
	close func() error
}

var _ Host = (*Client)(nil)

// NewClient speaks through rt; closing the client calls closeTransport.
func NewClient(rt http.RoundTripper, id func() Identity, closeTransport func() error) *Client {
	return &Client{http: &http.Client{Transport: rt}, id: id, close: closeTransport}
}

// Facts implements Host.
func (c *Client) Facts(ctx context.Context, cluster string, address netip.Addr) (Facts, error) {
	var f Facts
	err := c.call(ctx, VerbFacts, FactsRequest{Cluster: cluster, Address: address}, &f)
	f.trim()
	return f, err
}

// Progress implements Host.
func (c *Client) Progress(ctx context.Context, cluster string, member cluster.MemberID) (uint64, error) {
	var p ProgressAnswer
	err := c.call(ctx, VerbProgress, MemberRequest{Cluster: cluster, Member: member}, &p)
	return p.Applied, err
}

// Sends implements Host.
func (c *Client) Sends(ctx context.Context, cluster string, member, peer cluster.MemberID) (bool, error) {
	var s SendsAnswer
	err := c.call(ctx, VerbSends, PeerRequest{Cluster: cluster, Member: member, Peer: peer}, &s)
	return s.Sends, err
}

// PutFiles implements Host.
func (c *Client) PutFiles(ctx context.Context, req PutFiles) error {
	return c.call(ctx, VerbPutFiles, req, nil)
}

// InstallUnit implements Host.
func (c *Client) InstallUnit(ctx context.Context, u cluster.Unit) error {
	return c.call(ctx, VerbInstallUnit, u, nil)
}

// StartUnit implements Host.
func (c *Client) StartUnit(ctx context.Context, cluster string, member cluster.MemberID) error {
	return c.call(ctx, VerbStartUnit, MemberRequest{Cluster: cluster, Member: member}, nil)
}

// StopUnit implements Host.
func (c *Client) StopUnit(ctx context.Context, req StopUnit) error {
	return c.call(ctx, VerbStopUnit, req, nil)
}

// RetireUnit implements Host.
func (c *Client) RetireUnit(ctx context.Context, cluster string, member cluster.MemberID) error {
	return c.call(ctx, VerbRetireUnit, MemberRequest{Cluster: cluster, Member: member}, nil)
}

// Clean implements Host.
func (c *Client) Clean(ctx context.Context, cluster string) error {
	return c.call(ctx, VerbClean, ClusterRequest{Cluster: cluster}, nil)
}

// Reboot implements Host.
func (c *Client) Reboot(ctx context.Context, req Reboot) error {
	return c.call(ctx, VerbReboot, req, nil)
}

// WaitUnit implements Host.
func (c *Client) WaitUnit(ctx context.Context, cluster string, running bool) error {
	return c.call(ctx, VerbWaitUnit, WaitRequest{Cluster: cluster, Running: running}, nil)
}

// Claim implements Host.
func (c *Client) Claim(ctx context.Context) error {
	return c.call(ctx, VerbClaim, ClaimRequest{}, nil)
}

// Log implements Host.
func (c *Client) Log(ctx context.Context, req LogRequest) (io.ReadCloser, error) {
	resp, err := c.ask(ctx, VerbLog, req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Close implements Host.
func (c *Client) Close() error { return c.close() }

// ask returns the answer of a verb that succeeds; its body is the caller's to close.
func (c *Client) ask(ctx context.Context, verb string, in any) (*http.Response, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", verb, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cke-host/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	req.Header.Set("Content-Type", "application/json")
	return c.send(req, verb)
}

// send says who calls, and returns the answer of a request that succeeds.
func (c *Client) send(req *http.Request, verb string) (*http.Response, error) {
	id := c.id()
	if id.Epoch < 0 {
		return nil, fmt.Errorf("%s: %w", verb, ErrTooLate)
	}
	if id.Elected {
		req.Header.Set(HeaderElected, "true")
	}
	if id.Proof != "" {
		req.Header.Set(HeaderProof, id.Proof)
	}
	req.Header.Set(HeaderStore, id.StoreID)
	req.Header.Set(HeaderEpoch, strconv.FormatInt(id.Epoch, 10))
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, withoutURL(err))
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }() // what it says is read here
		return nil, decodeFailure(verb, resp)
	}
	return resp, nil
}

func (c *Client) call(ctx context.Context, verb string, in, out any) error {
	resp, err := c.ask(ctx, verb, in)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the answer is read or given up
	return readAnswer(resp, verb, out)
}

// maxAnswer bounds what a machine may say at once: its certificates and a
// revocation list that has grown.
const maxAnswer = 32 << 20

func readAnswer(resp *http.Response, verb string, out any) error {
	body := http.MaxBytesReader(nil, resp.Body, maxAnswer)
	var err error
	if out == nil {
		_, err = io.Copy(io.Discard, body)
	} else {
		err = json.NewDecoder(body).Decode(out)
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return fmt.Errorf("%s: the answer is larger than %d bytes", verb, large.Limit)
	}
	if err != nil {
		return fmt.Errorf("%s: read the answer: %w", verb, err)
	}
	return nil
}

// withoutURL drops the made-up URL that net/http puts into its errors.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func decodeFailure(verb string, resp *http.Response) error {
	const limit = 1 << 20
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return fmt.Errorf("%s: read the answer: %w", verb, err)
	}
	var f Failure
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("%s: %s: %.200q", verb, resp.Status, b)
	}
	return f.Err()
}
