package hosts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

var errNotRunning = errors.New("no process")

// serves waits until a machine's member answers a linearizable read itself. It
// needs no CKE: etcd's health endpoint, on the machine's loopback, says it.
func (e *env) serves(i int) {
	e.t.Helper()
	e.Eventually(fmt.Sprintf("the member on %s serves", e.name(i)), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		out, err := e.lab.Machine(i).Exec(ctx, "bash", "-c",
			`exec 3<>/dev/tcp/127.0.0.1/2381 && printf 'GET /health HTTP/1.0\r\n\r\n' >&3 && timeout 3 cat <&3`)
		if err != nil {
			return err
		}
		if !strings.Contains(out, `"health":"true"`) {
			return fmt.Errorf("health says %s", out)
		}
		return nil
	})
}

var errFollows = errors.New("journalctl runs")

// safeBuffer is written by a command while a test looks at it.
type safeBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// has says that a text was written, or what was instead.
func (s *safeBuffer) has(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(s.b.String(), text) {
		return nil
	}
	return fmt.Errorf("no %q in %q", text, s.b.String())
}
