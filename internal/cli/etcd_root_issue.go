package cli

import (
	"context"

	"github.com/spf13/cobra"

	"cke/internal/cluster"
)

func newRootIssue(s *session) *cobra.Command {
	var o *outputFlag
	cmd := &cobra.Command{
		Use:   "root-issue",
		Short: "Issue a certificate for etcd's root, valid for 2 hours",
		Long: `Issue a client certificate for etcd's user root, which may do everything. It is
valid for 2 hours and cannot be taken back: hand it to nobody.

As JSON it is {"ca_certificate", "certificate", "private_key"}, PEM in strings;
with --output file it is etcd-ca.crt, etcd-root.crt and etcd-root.key (0600) in
the current directory.`,
		Example: `  ckecli etcd root-issue --output file
  etcdctl --endpoints=127.0.0.1:2379 --cacert=etcd-ca.crt \
    --cert=etcd-root.crt --key=etcd-root.key member list`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runRootIssue(cmd.Context(), s, o) },
	}
	o = addOutput(cmd, asJSON, asFile)
	return cmd
}

func runRootIssue(ctx context.Context, s *session, o *outputFlag) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	cert, err := c.IssueRoot(ctx, name)
	if err != nil {
		return err
	}
	return s.printCertificate(o, cluster.RootUser, cert)
}
