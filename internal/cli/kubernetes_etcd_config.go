package cli

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"cke/internal/api"
)

type etcdConfigOptions struct {
	output         *outputFlag
	flags, kubeadm bool
	node           string
	gateway        bool
	directory      string
}

func newEtcdConfig(s *session) *cobra.Command {
	var o etcdConfigOptions
	cmd := &cobra.Command{
		Use:   "etcd-config",
		Short: "Print what a kube-apiserver needs to use this etcd",
		Long: `Print what a kube-apiserver needs to use this etcd: its flags, one on each line,
or with --kubeadm a ClusterConfiguration. What is printed on stdout can be used
as it is; remarks go to stderr.

The endpoints are the members that serve. With --node they are what an API
server on that node should use: the gateway on its own machine if cluster.yml
gives it one (gateway: true), which never needs another list. --gateway asks for
it without naming the node, for a file that serves several.`,
		Example: `  ckecli kubernetes etcd-config
  ckecli kubernetes etcd-config --node cp1
  ckecli kubernetes etcd-config --kubeadm --gateway > kubeadm.yaml`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runEtcdConfig(cmd.Context(), s, o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.flags, "flags", false, "print flags of kube-apiserver (the default)")
	f.BoolVar(&o.kubeadm, "kubeadm", false, "print a ClusterConfiguration of kubeadm")
	f.StringVar(&o.node, "node", "", "the `NODE` the API server runs on, by hostname or address")
	f.BoolVar(&o.gateway, "gateway", false, "through the gateway of the API server's own machine")
	f.StringVar(&o.directory, "directory", "", "`DIR` of the client certificate, if not the one in cluster.yml")
	// Fails only for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("node", s.completeNodes)
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runEtcdConfig(ctx context.Context, s *session, o etcdConfigOptions) error {
	switch {
	case o.flags && o.kubeadm:
		return &usageError{message: "--flags and --kubeadm are two forms of the same", hint: "choose one"}
	case o.directory != "" && !path.IsAbs(o.directory):
		return &usageError{message: fmt.Sprintf("directory %q is not absolute", o.directory), hint: "an API server may run anywhere; write it as in /etc/kubernetes/pki"}
	}
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	e, err := c.EtcdConfig(ctx, name, o.node, o.gateway)
	if err != nil {
		return err
	}
	if o.directory != "" {
		for _, file := range []*string{&e.CAFile, &e.CertFile, &e.KeyFile} {
			*file = path.Join(o.directory, path.Base(*file))
		}
	}
	for _, w := range e.Warnings {
		s.warn("warning: %s", w)
	}
	return s.print(o.output, e, func() string {
		if o.kubeadm {
			return kubeadmText(e)
		}
		return flagsText(e)
	})
}

func flagsText(e api.EtcdConfig) string {
	return fmt.Sprintf(`--etcd-servers=%s
--etcd-cafile=%s
--etcd-certfile=%s
--etcd-keyfile=%s
--etcd-compaction-interval=%s
`, strings.Join(e.Endpoints, ","), e.CAFile, e.CertFile, e.KeyFile, e.CompactionInterval)
}

// kubeadmText has extraArgs as v1beta4 has them: names and values, in a list.
func kubeadmText(e api.EtcdConfig) string {
	var endpoints strings.Builder
	for _, url := range e.Endpoints {
		endpoints.WriteString("    - " + yamlText(url) + "\n")
	}
	return fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
etcd:
  external:
    endpoints:
%s    caFile: %s
    certFile: %s
    keyFile: %s
apiServer:
  extraArgs:
  - name: etcd-compaction-interval
    value: %q
`, &endpoints, yamlText(e.CAFile), yamlText(e.CertFile), yamlText(e.KeyFile), e.CompactionInterval)
}

var yamlPlain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._:\[\]-]*[A-Za-z0-9]$`)

// yamlText is a string as YAML reads it, quoted where that is needed.
func yamlText(s string) string {
	if yamlPlain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
