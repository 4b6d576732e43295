package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"cke/internal/cluster"
	"cke/internal/host"
)

// connect makes a connection whose helper has greeted, and watches over it.
func (l *link) connect(ctx context.Context, at func(stage string)) (*conn, error) {
	at("logging in")
	client, heard, err := l.login(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{to: l.to, client: client, heard: heard, began: time.Now(), ended: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = client.Close() }) // ends what waits on it
	run, err := l.start(ctx, client, at)
	if !stop() && err == nil {
		err = errClosed
	}
	if err != nil {
		_ = client.Close() // it is given up
		return nil, err
	}
	c.session = run.session
	l.wg.Go(func() { c.end(orEnd(client.Wait())) })
	l.wg.Go(func() { c.end(run.wait()) })
	l.wg.Go(func() { c.keep(l.o.clock) })
	l.o.Log.Info("host is connected", "address", l.to.address, "user", l.to.user, "helper", run.greeting.Version)
	l.wg.Go(func() {
		<-c.ended
		l.o.Log.Info("host is no longer connected", "address", l.to.address, "why", c.cause)
	})
	return c, nil
}

func orEnd(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return errors.New("the machine closed it")
	}
	return errors.New(host.Saying(err)) // SSH's own errors quote the machine
}

// start runs the helper, which as root is installed first where need be.
func (l *link) start(ctx context.Context, client *ssh.Client, at func(string)) (*run, error) {
	at("starting the helper")
	if l.to.user != "root" {
		r, err := l.exec(ctx, client, sudoCommand)
		if err != nil {
			return nil, l.explain(r, err)
		}
		return r, l.sameBuild(r)
	}
	sums := map[string]string{}
	for _, a := range arches() {
		sum, err := l.helpers.sum(a.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		sums[a.name] = sum
	}
	script := serveScript(l.o.libexec, sums)
	r, err := l.exec(ctx, client, script)
	if uname, ok := r.lacks(err); ok {
		at("uploading the helper")
		if err := l.upload(ctx, client, uname); err != nil {
			return nil, err
		}
		at("starting the helper")
		r, err = l.exec(ctx, client, script)
	}
	if err != nil {
		return nil, l.explain(r, err)
	}
	return r, l.sameBuild(r)
}

// run is a command under way on a machine.
type run struct {
	session  *host.Session
	greeting host.Greeting
	ssh      *ssh.Session
	said     *tail // on its standard error
}

// exec runs a command and waits for a helper's greeting.
func (l *link) exec(ctx context.Context, client *ssh.Client, command string) (*run, error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.clock.greet)
	defer cancel()
	r := &run{said: &tail{}}
	// Nothing else ends the wait for a machine that takes requests and says nothing.
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	var err error
	if r.ssh, err = client.NewSession(); err != nil {
		return r, l.late(ctx, fmt.Errorf("open a channel: %w", err))
	}
	r.ssh.Stderr = r.said
	in, inErr := r.ssh.StdinPipe()
	out, outErr := r.ssh.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return r, err
	}
	if err := r.ssh.Start(command); err != nil {
		return r, l.late(ctx, fmt.Errorf("start a command: %w", err))
	}
	r.session = host.NewSession(&channel{Reader: out, Writer: in, ssh: r.ssh})
	r.greeting, err = r.session.Greet(ctx)
	if err == nil {
		return r, nil
	}
	err = l.late(ctx, err)
	var none *host.NoGreetingError
	if errors.As(err, &none) && none.Ended {
		_ = r.ssh.Wait() // what it said last is in said then; that it failed is known
	}
	return r, errors.Join(err, ignoreEOF(r.ssh.Close()))
}

// late says so where the time for a greeting is over.
func (l *link) late(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the helper does not greet within %s", l.o.clock.greet)
	}
	return err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil // it is closed already
	}
	return err
}

// channel is a command's standard input and output.
type channel struct {
	io.Reader
	io.Writer
	ssh *ssh.Session
}

// Close ends the channel, and with it the command's input. Closing its input
// alone may not be done while something writes (x/crypto: CloseWrite).
func (c *channel) Close() error { return ignoreEOF(c.ssh.Close()) }

// wait returns why the helper ended.
func (r *run) wait() error {
	err := r.ssh.Wait()
	if said := r.said.text(); err == nil || said == "" {
		return fmt.Errorf("the helper ended: %w", orEnd(err))
	}
	return fmt.Errorf("the helper ended: %w; it says %q", err, r.said.text())
}

// lacks is the architecture of a machine whose answer is that it has no helper.
func (r *run) lacks(err error) (uname string, ok bool) {
	var none *host.NoGreetingError
	if !errors.As(err, &none) {
		return "", false
	}
	m := answerRE.FindSubmatch(none.Said)
	if m == nil {
		return "", false
	}
	return string(m[1]), true
}

// upload installs the helper for an architecture.
func (l *link) upload(ctx context.Context, client *ssh.Client, uname string) error {
	missing := func(hint, format string, args ...any) error {
		return &host.TroubleError{Trouble: cluster.HelperMissing, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	name := ""
	for _, a := range arches() {
		if a.uname == uname {
			name = a.name
		}
	}
	if name == "" {
		return missing("", "%s is a machine of the kind %q; there are helpers for x86_64 and aarch64", l.to.address, uname)
	}
	program, err := l.helpers.program(name)
	if err != nil {
		return missing("put it there (make build makes it), or set ssh.helpers to the directory it is in",
			"install the helper on %s: %v", l.to.address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.o.clock.upload)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = client.Close() }) // ends what waits on it
	defer stop()
	s, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("install the helper on %s: open a channel: %w", l.to.address, err)
	}
	var said tail
	s.Stderr = &said
	s.Stdin = bytes.NewReader(program.bytes)
	out, err := s.Output(uploadScript(l.o.libexec, program.sum))
	closeErr := ignoreEOF(s.Close())
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("install the helper on %s: %w", l.to.address, ctx.Err())
	case strings.TrimSpace(string(out)) == "stored":
		l.o.Log.Info("helper is installed", "address", l.to.address, "arch", name, "bytes", len(program.bytes))
		return closeErr
	case said.text() != "":
		return missing("see that "+l.o.libexec+" on the machine can be written and has room",
			"install the helper in %s on %s: %q", l.o.libexec, l.to.address, said.text())
	}
	return fmt.Errorf("install the helper on %s: %w", l.to.address, orEnd(err))
}

// tail keeps the end of what a command says on its standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailLimit = 500

// ReadFrom reads until the end. Without it io.Copy would keep a buffer of 32 KiB for
// each machine as long as it is connected, for a helper that says nothing.
func (t *tail) ReadFrom(r io.Reader) (read int64, err error) {
	buf := make([]byte, 256)
	for {
		n, err := r.Read(buf)
		read += int64(n)
		_, _ = t.Write(buf[:n]) // never fails
		if errors.Is(err, io.EOF) {
			return read, nil
		}
		if err != nil {
			return read, err
		}
	}
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if len(t.b) > tailLimit {
		t.b = append([]byte(nil), t.b[len(t.b)-tailLimit:]...)
	}
	return len(b), nil
}

// text is anything: show it quoted.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
