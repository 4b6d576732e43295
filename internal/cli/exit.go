package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"cke/internal/api"
	"cke/internal/cluster"
)

const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitUnreachable = 4
)

// usageError is a command line that cannot be carried out as written.
type usageError struct {
	message string
	hint    string
}

func (e *usageError) Error() string { return e.message }

// report prints an error for people and returns its exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	code, message, hint := exitFailed, err.Error(), ""
	var usage *usageError
	var unreachable *api.UnreachableError
	var answered *api.Error
	switch {
	case errors.As(err, &usage):
		code, hint = exitUsage, usage.hint
	case errors.As(err, &unreachable):
		code, hint = exitUnreachable, unreachable.Hint
	case errors.As(err, &answered):
		hint = answered.Hint
		switch answered.Code {
		case api.CodeRefused:
			code = exitRefused
		case api.CodeNotLeader:
			code = exitUnreachable
		}
	case errors.Is(err, context.Canceled):
		message = "interrupted"
	}
	// There is nowhere left to report that stderr is gone.
	_, _ = fmt.Fprintf(w, "error: %s\n", cluster.Plain(message))
	if hint != "" {
		_, _ = fmt.Fprintf(w, "hint: %s\n", cluster.Plain(hint))
	}
	return code
}
