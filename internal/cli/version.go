package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newVersion(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of ckecli and of cke",
		Long: `Print the version of ckecli, and that of cke if it can be reached; if not, that
is said and is no error.`,
		Example: "  ckecli version",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runVersion(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asText, asJSON)
	return cmd
}

// versionResult is the JSON of version.
type versionResult struct {
	Ckecli   string `json:"ckecli"`
	Cke      string `json:"cke,omitempty"`
	CkeError string `json:"cke_error,omitempty"`
}

func runVersion(ctx context.Context, s *session, o *outputFlag) error {
	v := versionResult{Ckecli: s.env.Version}
	c, err := s.client()
	if err == nil {
		v.Cke, err = c.Version(ctx)
	}
	if err != nil {
		v.CkeError = err.Error()
	}
	return s.print(o, v, func() string {
		cke := v.Cke
		if err != nil {
			cke = fmt.Sprintf("unknown (%v)", err)
		}
		return fmt.Sprintf("ckecli %s\ncke    %s\n", v.Ckecli, cke)
	})
}
