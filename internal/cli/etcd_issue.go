package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cke/internal/api"
	"cke/internal/units"
)

type issueOptions struct {
	output *outputFlag
	ttl    positiveDuration
}

func newIssue(s *session) *cobra.Command {
	o := issueOptions{ttl: positiveDuration(units.Duration(api.DefaultTTL))}
	cmd := &cobra.Command{
		Use:   "issue USER",
		Short: "Issue a client certificate for a user",
		Long: `Issue a client certificate for an etcd user that user-add has made. It opens the
user's own prefix and nothing else.

As JSON it is {"ca_certificate", "certificate", "private_key"}, PEM in strings;
with --output file it is etcd-ca.crt, etcd-USER.crt and etcd-USER.key (0600) in
the current directory.`,
		Example: `  ckecli etcd issue app --ttl 30d --output file
  ckecli etcd issue -ttl=24h -output=json app | jq -r .certificate`,
		Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error { return runIssue(cmd.Context(), s, o, args[0]) },
	}
	cmd.Flags().Var(&o.ttl, "ttl", "how long it is valid, as in 24h, 30d or 10y")
	o.output = addOutput(cmd, asJSON, asFile)
	return cmd
}

func runIssue(ctx context.Context, s *session, o issueOptions, user string) error {
	if o.output.value == asFile && strings.ContainsAny(user, "/\x00") {
		return &usageError{message: fmt.Sprintf("user %q cannot be part of a file's name", user), hint: "use --output json"}
	}
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	cert, err := c.Issue(ctx, name, user, units.Duration(o.ttl).Std())
	if err != nil {
		return err
	}
	return s.printCertificate(o.output, user, cert)
}
