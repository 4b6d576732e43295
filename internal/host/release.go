package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// HeaderRelease carries put-release's PutReleaseRequest as JSON; the body is
// bytes.
const HeaderRelease = "Cke-Release"

// Release is one etcd binary, as it is and as it travels: packed. It names no
// place; the machine alone knows where it lies.
type Release struct {
	Version string `json:"version"` // such as 3.7.3
	Arch    string `json:"arch"`    // in Go's words
	// SHA256 and Size are the binary's; the other two those of its packed form
	// (package pack). Digests are lower-case hex.
	SHA256       string `json:"sha256"`
	Size         int64  `json:"size"`
	PackedSHA256 string `json:"packed_sha256"`
	PackedSize   int64  `json:"packed_size"`
}

// ReleaseState is how much of a release a machine has.
type ReleaseState struct {
	// Installed: this very binary is in its place.
	Installed bool `json:"installed"`
	// Offset is how many packed bytes are there, to go on from.
	Offset int64 `json:"offset"`
}

// ReleaseRequest is the body of release-offset.
type ReleaseRequest struct {
	Release Release `json:"release"`
}

// PutReleaseRequest is the header of put-release. The body is the packed form
// from Offset on.
type PutReleaseRequest struct {
	Release Release `json:"release"`
	Offset  int64   `json:"offset"`
}

// ReleaseOffset implements Host.
func (c *Client) ReleaseOffset(ctx context.Context, r Release) (ReleaseState, error) {
	var s ReleaseState
	err := c.call(ctx, VerbReleaseOffset, ReleaseRequest{Release: r}, &s)
	return s, err
}

// PutRelease implements Host.
func (c *Client) PutRelease(ctx context.Context, r Release, offset int64, packed io.Reader) error {
	head, err := json.Marshal(PutReleaseRequest{Release: r, Offset: offset})
	if err != nil {
		return fmt.Errorf("encode %s: %w", VerbPutRelease, err)
	}
	// The reader is the caller's: a transport closes what can be closed.
	body := io.NopCloser(struct{ io.Reader }{packed})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cke-host/v1/"+VerbPutRelease, body)
	if err != nil {
		return fmt.Errorf("%s: %w", VerbPutRelease, err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set(HeaderRelease, string(head))
	resp, err := c.send(req, VerbPutRelease)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the answer is read or given up
	return readAnswer(resp, VerbPutRelease, nil)
}

// Purge implements Host.
func (c *Client) Purge(ctx context.Context) error { return c.call(ctx, VerbPurge, PurgeRequest{}, nil) }
