package cli

import (
	"errors"

	"github.com/spf13/pflag"

	"cke/internal/cluster"
)

// whyFlag is a person's reason, one line of text.
type whyFlag string

func addWhy(f *pflag.FlagSet, why *whyFlag) {
	f.Var(why, "why", "the reason, for the next person who looks")
}

func (w *whyFlag) String() string { return string(*w) }
func (w *whyFlag) Type() string   { return "string" }

// Set takes what others may read on their terminals.
func (w *whyFlag) Set(v string) error {
	if bad := cluster.BadWhy(v); bad != "" {
		return errors.New(bad + "; give one line of text")
	}
	*w = whyFlag(v)
	return nil
}
