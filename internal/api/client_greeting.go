package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// greetPatience is how long a daemon may take for the first word. The kernel connects
// to a unix socket for a process that is stopped, or hangs, and a request to it would
// wait for ever, while another daemon might answer.
const greetPatience = 10 * time.Second

// errMute is a daemon that somebody connected to and that says nothing.
var errMute = errors.New("it is there, but does not answer")

// dialUnix connects to a daemon that answers: before a connection is used for anything
// else it was asked for its version.
func dialUnix(ctx context.Context, path string, patience time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// A caller that goes away does not wait for the greeting.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // it is closed below
	err = greet(ctx, c)
	if !stop() {
		err = ctx.Err()
	}
	if err == nil {
		return c, nil
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w within %s", errMute, patience)
	}
	return nil, errors.Join(err, c.Close())
}

func greet(ctx context.Context, c net.Conn) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://cke/v1/version", http.NoBody)
	if err != nil {
		return err
	}
	if err := req.Write(c); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body) // whatever listens there, it answers
	return errors.Join(err, resp.Body.Close())
}
