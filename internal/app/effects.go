package app

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"

	"cke/internal/execute"
	"cke/internal/plan"
)

// The crash tests' way in: a daemon started with these variables notes each
// mutation in a file and ends itself with SIGKILL right after the N-th.
const (
	envTrace = "CKE_EFFECT_TRACE"
	envKill  = "CKE_EFFECT_KILL"
)

// What a person has cleaned mutates the world too, outside of any step.
const (
	cleanNode       plan.Kind      = "clean-node"
	hostPurge       execute.Effect = "host.purge"
	storeForgetLeft execute.Effect = "store.forget-left"
)

// did tells of a mutation, right after it.
func (a *App) did(e execute.Effect, err error) error {
	if a.o.After != nil {
		a.o.After(cleanNode, e)
	}
	return err
}

// EffectHook reads the two variables; nil when neither is set.
func EffectHook(getenv func(string) string) (execute.After, error) {
	trace, kill := getenv(envTrace), getenv(envKill)
	if trace == "" && kill == "" {
		return nil, nil
	}
	at := 0
	if kill != "" {
		var err error
		if at, err = strconv.Atoi(kill); err != nil || at < 1 {
			return nil, fmt.Errorf("%s=%q is not the number of an effect, from 1 on", envKill, kill)
		}
	}
	var mu sync.Mutex
	seen := 0
	return func(step plan.Kind, e execute.Effect) {
		mu.Lock()
		defer mu.Unlock()
		seen++
		if err := appendLine(trace, fmt.Sprintf("%s %s\n", step, e)); err != nil {
			panic(fmt.Sprintf("%s: %v", envTrace, err))
		}
		if seen == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // nothing runs after it
			select {}
		}
	}, nil
}

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
