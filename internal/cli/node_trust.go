package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type trustOptions struct {
	output      *outputFlag
	fingerprint string
}

func newNodeTrust(s *session) *cobra.Command {
	var o trustOptions
	cmd := &cobra.Command{
		Use:   "trust ADDRESS",
		Short: "Accept the SSH key of a machine",
		Long: `Accept the SSH key the machine at ADDRESS, or with that hostname, shows now.
cke talks to no machine whose key it does not know; ckecli plan shows the
fingerprint it was offered. Compare it on the machine itself with:
ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub

Without --fingerprint a machine that has no key on record yet is taken at its
word. A key that takes the place of another one is accepted by its fingerprint
only. A host_key in cluster.yml is not changed from here.`,
		Example: "  ckecli node trust 10.77.0.11 --fingerprint SHA256:pTmsXR…",
		Args:    exactly("ADDRESS"),
		RunE:    func(cmd *cobra.Command, args []string) error { return runNodeTrust(cmd.Context(), s, o, args[0]) },
	}
	cmd.Flags().StringVar(&o.fingerprint, "fingerprint", "", "accept only the key with this fingerprint")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runNodeTrust(ctx context.Context, s *session, o trustOptions, address string) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	k, err := c.Trust(ctx, name, address, o.fingerprint)
	if err != nil {
		return err
	}
	return s.print(o.output, k, func() string {
		return fmt.Sprintf("the host key of %s (%s) is trusted: %s %s\n", k.Node, k.Address, k.Type, k.Fingerprint)
	})
}
