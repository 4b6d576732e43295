// Command ckecli looks after etcd clusters through cke's API.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"cke/internal/api"
	"cke/internal/cli"
	"cke/internal/config"
	"cke/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv:     os.Getenv,
		Now:        time.Now,
		Version:    version.String(),
		ConfigPath: config.DefaultPath,
		LoadConfig: endpoint,
	})
	stop()
	os.Exit(code)
}

func endpoint(path string) (cli.Endpoint, error) {
	c, err := config.LoadClient(path)
	if err != nil {
		return cli.Endpoint{}, err
	}
	return cli.Endpoint{
		Server: c.Server,
		TLS:    api.ClientTLS{CA: c.CACertificate, Cert: c.Certificate, Key: c.Key},
	}, nil
}
