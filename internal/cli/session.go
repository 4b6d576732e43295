package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"cke/internal/api"
)

// session is one run of ckecli: its surroundings and the flags all commands share.
type session struct {
	env         Env
	server      string
	config      string
	tls         api.ClientTLS
	clusterName string
}

func (s *session) addFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&s.server, "server", "", "where cke serves: unix:///path or https://host:port; of several daemons all, with commas between (or CKE_SERVER)")
	f.StringVar(&s.config, "config", "", "configuration of cke that says where it serves")
	f.StringVar(&s.tls.CA, "tls-ca", "", "`FILE` with the CA of cke's server certificate (or CKE_TLS_CA)")
	f.StringVar(&s.tls.Cert, "tls-cert", "", "`FILE` with your client certificate (or CKE_TLS_CERT)")
	f.StringVar(&s.tls.Key, "tls-key", "", "`FILE` with its key (or CKE_TLS_KEY)")
	f.StringVar(&s.clusterName, "cluster", "", "which cluster; needed only when there are several")
}

// client finds the daemon: --server, CKE_SERVER, --config, the usual configuration.
func (s *session) client() (*api.Client, error) {
	end := Endpoint{Server: s.server, TLS: s.tls}
	for _, v := range []struct {
		to   *string
		name string
	}{
		{&end.Server, "CKE_SERVER"}, {&end.TLS.CA, "CKE_TLS_CA"},
		{&end.TLS.Cert, "CKE_TLS_CERT"}, {&end.TLS.Key, "CKE_TLS_KEY"},
	} {
		if *v.to == "" {
			*v.to = s.env.Getenv(v.name)
		}
	}
	if end.Server == "" {
		configured, err := s.configured()
		if err != nil {
			return nil, err
		}
		end.Server = configured.Server
		if end.TLS == (api.ClientTLS{}) {
			end.TLS = configured.TLS
		}
	}
	c, err := api.NewClient(end.Server, end.TLS)
	var bad *api.Error
	if errors.As(err, &bad) {
		return nil, &usageError{message: bad.Message, hint: "give it with --server or CKE_SERVER"}
	}
	return c, err
}

func (s *session) configured() (Endpoint, error) {
	path := s.config
	if path == "" {
		path = s.env.ConfigPath
	}
	end, err := s.env.LoadConfig(path)
	if errors.Is(err, fs.ErrNotExist) && s.config == "" {
		return Endpoint{}, &api.UnreachableError{
			Server: path, Err: fs.ErrNotExist,
			Hint: "name a server with --server or CKE_SERVER; is cke installed on this machine?",
		}
	}
	return end, err
}

// connect returns a client and the cluster meant.
func (s *session) connect(ctx context.Context) (*api.Client, string, error) {
	c, err := s.client()
	if err != nil {
		return nil, "", err
	}
	if s.clusterName != "" {
		return c, s.clusterName, nil
	}
	list, err := c.Clusters(ctx)
	if err != nil {
		return nil, "", err
	}
	switch len(list) {
	case 0:
		return nil, "", api.NotFound("there is no cluster yet", "make one with ckecli cluster set cluster.yml")
	case 1:
		return c, list[0].Name, nil
	}
	var names []string
	for _, l := range list {
		names = append(names, l.Name)
	}
	return nil, "", &usageError{
		message: "there are several clusters: " + strings.Join(names, ", "),
		hint:    "say which one, as in --cluster " + names[0],
	}
}

// warn writes a line for people beside the result.
func (s *session) warn(format string, args ...any) {
	// There is nowhere left to report that stderr is gone.
	_, _ = fmt.Fprintf(s.env.Stderr, format+"\n", args...)
}
