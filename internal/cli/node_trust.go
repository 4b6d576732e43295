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
		Long: `Accept the SSH key of the machine at ADDRESS. cke talks to no machine whose key
it does not know; ckecli plan shows the fingerprint it was offered. Compare it
on the machine itself with: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`,
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
	if err := c.Trust(ctx, name, address, o.fingerprint); err != nil {
		return err
	}
	return s.print(o.output, map[string]string{"cluster": name, "trusted": address}, func() string {
		return fmt.Sprintf("the key of %s is trusted\n", address)
	})
}
