package app

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"cke/internal/execute"
	"cke/internal/plan"
)

// The crash tests' way in: a daemon started with these variables notes each
// mutation in a file, and how it went in another, and ends itself with SIGKILL, or
// stops itself with SIGSTOP, right after the N-th, or after the first of a step kind, or
// of a kind and an effect, or, with "!", of any but those listed: "!KIND EFFECT,KIND EFFECT".
const (
	envTrace   = "CKE_EFFECT_TRACE"
	envOutcome = "CKE_EFFECT_OUTCOMES"
	envKill    = "CKE_EFFECT_KILL"
	envStop    = "CKE_EFFECT_STOP"
)

// What a person has cleaned mutates the world too, outside of any step.
const (
	cleanNode       plan.Kind      = "clean-node"
	hostPurge       execute.Effect = "host.purge"
	storeForgetLeft execute.Effect = "store.forget-left"
)

// does a mutation and tells of it.
func (a *App) does(e execute.Effect, mutate func() error) error {
	if a.o.Before != nil {
		a.o.Before()
	}
	err := mutate()
	if a.o.After != nil {
		a.o.After(cleanNode, e)
	}
	return err
}

// Hook is told of a daemon's mutations, notes them, and ends or stops it in the midst of
// them.
type Hook struct {
	trace      string
	kill, stop *moment
	// end ends the process; past is for who ends something else, and says when it has.
	end  func()
	past <-chan struct{}

	mu sync.Mutex
	// seen are those that are over, underWay those that are not.
	seen, underWay int
	dying          bool
	// still is open from the moment to stop after until this process was woken, and
	// closed then.
	still chan struct{}
	// standStill stops the process and comes back when somebody else has woken it.
	standStill func()
}

// EffectHook reads the variables; nil when none of those it needs is set.
func EffectHook(getenv func(string) string) (*Hook, error) {
	trace := getenv(envTrace)
	kill, err := parseMoment(getenv, envKill)
	if err != nil {
		return nil, err
	}
	stop, err := parseMoment(getenv, envStop)
	if err != nil || trace == "" && kill == nil && stop == nil {
		return nil, err
	}
	return &Hook{trace: trace, kill: kill, stop: stop, end: die, standStill: standStill}, nil
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // nothing runs after it
}

// Before is called right before each mutation. Of a daemon that is about to end there
// are no more, and of one that is about to stop none before it was woken.
func (h *Hook) Before() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dying {
		h.await(h.past)
	}
	if h.still != nil {
		h.await(h.still)
	}
	h.underWay++
}

// After is called right after each mutation. A daemon that ends after the first that is
// none of others lets those under way come to their end, so that nothing is done that
// none was killed after. One that stops does so too: in the midst of another mutation it
// would keep the lock of that node, which is not what is asked here.
func (h *Hook) After(step plan.Kind, e execute.Effect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen++
	h.underWay--
	if err := appendLine(h.trace, traced(step, e)+"\n"); err != nil {
		panic(fmt.Sprintf("%s: %v", envTrace, err))
	}
	h.dying = h.dying || h.kill.has(h.seen, step, e)
	switch {
	case h.dying && (h.underWay == 0 || h.kill.others == nil):
		h.end()
		<-h.past // nobody gets the lock any more
	case h.dying:
		h.await(h.past)
	default:
		h.stopAfter(step, e)
	}
}

// stopAfter stops this process once nothing is under way, where this was the moment. The
// caller holds the lock.
func (h *Hook) stopAfter(step plan.Kind, e execute.Effect) {
	if h.stop.has(h.seen, step, e) {
		h.stop.past = true
		h.still = make(chan struct{})
	}
	switch {
	case h.still == nil:
	case h.underWay > 0:
		h.await(h.still)
	default:
		h.standStill()
		close(h.still)
		h.still = nil
	}
}

// await is for what another brings. The caller holds the lock.
func (h *Hook) await(c <-chan struct{}) {
	h.mu.Unlock()
	<-c
	h.mu.Lock()
}

// standStill stops this process until somebody else wakes it. The signal may take its
// time to reach every thread, and this one must not get on meanwhile.
func standStill() {
	woken := make(chan os.Signal, 1)
	signal.Notify(woken, syscall.SIGCONT)
	defer signal.Stop(woken)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // a process may stop itself
	<-woken
}

// OutcomeHook notes how each mutation went; nil when nobody wants to know.
func OutcomeHook(getenv func(string) string) execute.Outcome {
	path := getenv(envOutcome)
	if path == "" {
		return nil
	}
	var mu sync.Mutex
	return func(step plan.Kind, e execute.Effect, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err := appendLine(path, fmt.Sprintf("%s %s %q\n", step, e, fmt.Sprint(err))); err != nil {
			panic(fmt.Sprintf("%s: %v", envOutcome, err))
		}
	}
}

// moment is after a certain effect: by its number, or the first of a step kind, and
// of a name where one is given, or the first that is none of others.
type moment struct {
	number int
	kind   plan.Kind
	effect execute.Effect
	others []string // nil: not by what it is not
	past   bool
}

func parseMoment(getenv func(string) string, name string) (*moment, error) {
	text := getenv(name)
	if text == "" {
		return nil, nil
	}
	if others, ok := strings.CutPrefix(text, "!"); ok {
		return &moment{others: strings.Split(others, ",")}, nil
	}
	if kind, effect, _ := strings.Cut(text, " "); strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz-") == "" {
		return &moment{kind: plan.Kind(kind), effect: execute.Effect(effect)}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("%s=%q is neither the number of an effect, from 1 on, nor a kind of step", name, text)
	}
	return &moment{number: n}, nil
}

func (m *moment) has(number int, kind plan.Kind, e execute.Effect) bool {
	switch {
	case m == nil || m.past:
		return false
	case m.others != nil:
		return !slices.Contains(m.others, traced(kind, e))
	default:
		return number == m.number || kind == m.kind && (m.effect == "" || e == m.effect)
	}
}

// traced is an effect as the trace has it.
func traced(kind plan.Kind, e execute.Effect) string { return fmt.Sprintf("%s %s", kind, e) }

func appendLine(path, line string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	if cErr := f.Close(); err == nil {
		err = cErr
	}
	return err
}
