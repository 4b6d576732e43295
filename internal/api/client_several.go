package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// way is the client of the i-th daemon.
func (c *Client) way(i int) *Client {
	if i == 0 {
		return c
	}
	return c.others[i-1]
}

// current is the client of the daemon that answered last.
func (c *Client) current() *Client { return c.way(int(c.turn.Load())) }

// send asks one daemon after another until one answers. Nothing is sent twice: a
// daemon that could not be reached got nothing, and one that does not lead did
// nothing.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	n := len(c.others) + 1
	first := int(c.turn.Load())
	var failed []error
	for i := range n {
		turn := (first + i) % n
		resp, err := c.way(turn).sendOne(ctx, r)
		if err == nil || !askElsewhere(err) {
			c.turn.Store(int32(turn))
			return resp, err
		}
		failed = append(failed, err)
	}
	return nil, nobody(failed)
}

func askElsewhere(err error) bool {
	var answered *Error
	if errors.As(err, &answered) {
		return answered.Code == CodeNotLeader
	}
	var away *UnreachableError
	return errors.As(err, &away)
}

// nobody is why no daemon answered. One that knows who leads says the most.
func nobody(failed []error) error {
	var servers, causes []string
	for _, err := range failed {
		var away *UnreachableError
		if !errors.As(err, &away) {
			return err
		}
		servers, causes = append(servers, away.Server), append(causes, away.Err.Error())
	}
	if len(failed) == 1 {
		return failed[0]
	}
	var away *UnreachableError
	errors.As(failed[0], &away)
	return &UnreachableError{
		Server: strings.Join(servers, ", "), Err: errors.New(strings.Join(causes, "; ")), Hint: away.Hint,
	}
}
