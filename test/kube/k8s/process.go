package k8s

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Process is a program that runs beside the test and dies with it.
type Process struct {
	Name string
	Log  string // the file with all it printed

	cmd   *exec.Cmd
	ended chan struct{}
}

// garbage has Kubernetes collect it more rarely than it would: the box has memory
// to spare and few processors, and the API server answers half as many again.
const garbage = "GOGC=500"

// start runs a program whose output goes to a file. It is killed with this
// process, whatever ends that.
func start(dir, program string, args ...string) (*Process, error) {
	name := filepath.Base(program)
	p := &Process{Name: name, Log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append(os.Environ(), garbage)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The signal is sent when the thread ends that started the process, so
		// this one stays for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in its state
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// Signal sends it a signal: SIGSTOP and SIGCONT make it slow.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends it at once. An API server asked to end waits for its watches.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// lastLines is the end of what it printed.
func (p *Process) lastLines(n int) string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// Ended is closed when it has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }
