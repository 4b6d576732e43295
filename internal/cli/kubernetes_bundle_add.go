package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/units"
)

type bundleAddOptions struct {
	output          *outputFlag
	namespace, name string
	ttl             positiveDuration
	wait            bool
	timeout         positiveDuration
}

func newBundleAdd(s *session) *cobra.Command {
	o := bundleAddOptions{ttl: positiveDuration(cluster.DefaultBundleTTL), timeout: positiveDuration(units.Duration(time.Minute))}
	cmd := &cobra.Command{
		Use:   "add USER --namespace NS",
		Short: "Keep a Secret with all that a user's pods need",
		Long: `Keep a Secret in Kubernetes with all that the pods of an application need to use
etcd as USER: ca.crt, tls.crt, tls.key and endpoints. The certificate lives for
--ttl and is renewed at two thirds of it; cke repairs the Secret when somebody
changes it.

Whoever may read Secrets in that namespace has USER's access, so there is no
namespace unless you name one. Adding the same again is fine; a Secret that is
another user's, or has another ttl, is refused.`,
		Example: `  ckecli kubernetes bundle add app --namespace shop
  ckecli kubernetes bundle add app --namespace shop --name etcd --ttl 7d --wait`,
		Args:              exactly("USER"),
		ValidArgsFunction: s.completeUsers,
		RunE:              func(cmd *cobra.Command, args []string) error { return runBundleAdd(cmd.Context(), s, o, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&o.namespace, "namespace", "", "the `NS` the Secret is for; it has to be there")
	f.StringVar(&o.name, "name", "", "the Secret's `NAME` (default etcd-USER)")
	f.Var(&o.ttl, "ttl", "how long a certificate in it lives, as in 24h or 30d")
	f.BoolVar(&o.wait, "wait", false, "return only when the Secret is in Kubernetes")
	f.Var(&o.timeout, "timeout", "how long --wait waits")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runBundleAdd(ctx context.Context, s *session, o bundleAddOptions, user string) error {
	if o.namespace == "" {
		return &usageError{message: "--namespace is missing", hint: "whoever may read Secrets there has the user's access; choose the application's own"}
	}
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	change, err := c.AddBundle(ctx, name, cluster.Bundle{User: user, Namespace: o.namespace, Name: o.name, TTL: units.Duration(o.ttl)})
	if err != nil {
		return err
	}
	for _, w := range change.Warnings {
		s.warn("warning: %s", w)
	}
	if o.wait {
		if err := awaitBundle(ctx, s, c, name, change.Bundle, o.timeout); err != nil {
			return err
		}
	}
	return s.print(o.output, change, func() string {
		b := change.Bundle
		if !change.Changed {
			return fmt.Sprintf("bundle %s of user %s is there already\n", b.Key(), b.User)
		}
		return fmt.Sprintf("bundle %s added for user %s, ttl %s\n", b.Key(), b.User, b.TTL)
	})
}

// awaitBundle returns when the Secret is in Kubernetes as it should be.
func awaitBundle(ctx context.Context, s *session, c *api.Client, name string, b cluster.Bundle, timeout positiveDuration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, units.Duration(timeout).Std(), errTimeout)
	defer cancel()
	done := errors.New("it is there")
	last := cluster.Condition{Text: "cke has not tried yet"}
	err := watchOutcome(ctx, s, c, name, func(st api.Status) error {
		if st.Kubernetes == nil {
			return api.Refused("no Secret is made: cluster.yml has no kubernetes.kubeconfig", "the bundle is recorded; cke makes the Secret once there is one")
		}
		if found, ok := conditionOf(st.Kubernetes, b); ok {
			last = found
		}
		if last.OK {
			return done
		}
		return nil
	})
	switch {
	case errors.Is(err, done):
		return nil
	case errors.Is(context.Cause(ctx), errTimeout):
		return &api.Error{
			Code:    api.CodeFailed,
			Message: fmt.Sprintf("the Secret %s is not in Kubernetes after %s: %s", b.Key(), units.Duration(timeout), last.Text),
			Hint:    orElse(last.Hint, "cke goes on; look with ckecli kubernetes bundle list"),
		}
	default:
		return err
	}
}

func conditionOf(k *api.KubernetesStatus, b cluster.Bundle) (cluster.Condition, bool) {
	for _, c := range k.Conditions {
		if c.Subject == api.SecretSubject(b) {
			return c, true
		}
	}
	return cluster.Condition{}, false
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
