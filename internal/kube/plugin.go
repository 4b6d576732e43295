package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientauth "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	pluginPatience = 10 * time.Second
	// early is how long before their end a plugin's credentials are renewed.
	early = 30 * time.Second
)

// askPlugin runs the credential plugin of a kubeconfig and puts what it gives
// into the config. client-go would run it too, but without a time limit and with
// cke's own standard error.
func askPlugin(ctx context.Context, config *rest.Config, now time.Time) (expires time.Time, err error) {
	p := config.ExecProvider
	if p.InteractiveMode == clientcmdapi.AlwaysExecInteractiveMode {
		return expires, fmt.Errorf("ask credential plugin %s: it wants a terminal, and cke has none", p.Command)
	}
	out, err := runPlugin(ctx, config)
	if err != nil {
		return expires, fmt.Errorf("ask credential plugin %s: %w", p.Command, err)
	}
	var answer clientauth.ExecCredential
	// A parser's error may repeat a piece of what it read, so it is left out.
	if json.Unmarshal(out, &answer) != nil || answer.Kind != "ExecCredential" || answer.Status == nil {
		return expires, fmt.Errorf("ask credential plugin %s: it gives no ExecCredential", p.Command)
	}
	if answer.APIVersion != p.APIVersion {
		return expires, fmt.Errorf("ask credential plugin %s: it answers in %s, the kubeconfig says %s", p.Command, answer.APIVersion, p.APIVersion)
	}
	s := answer.Status
	if s.Token == "" && s.ClientCertificateData == "" {
		return expires, fmt.Errorf("ask credential plugin %s: it gives neither a token nor a certificate", p.Command)
	}
	config.ExecProvider = nil
	config.BearerToken = s.Token
	if s.ClientCertificateData != "" {
		config.CertData, config.KeyData = []byte(s.ClientCertificateData), []byte(s.ClientKeyData)
	}
	if s.ExpirationTimestamp != nil {
		expires = s.ExpirationTimestamp.Add(-early)
		if expires.Before(now) { // it lives shorter than early
			expires = s.ExpirationTimestamp.Time
		}
	}
	return expires, nil
}

func runPlugin(ctx context.Context, config *rest.Config) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, pluginPatience)
	defer cancel()
	p := config.ExecProvider
	question := clientauth.ExecCredential{TypeMeta: metav1.TypeMeta{APIVersion: p.APIVersion, Kind: "ExecCredential"}}
	if p.ProvideClusterInfo {
		question.Spec.Cluster = clusterInfo(config)
	}
	info, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, p.Command, p.Args...) //nolint:gosec // running it is what a kubeconfig asks for
	cmd.Env = os.Environ()
	for _, e := range p.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	cmd.Env = append(cmd.Env, "KUBERNETES_EXEC_INFO="+string(info))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A child of the plugin ends with it, and must not keep its output open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("it does not end within %s", pluginPatience)
	case errors.As(err, &exit):
		return nil, fmt.Errorf("%w: %s", err, lastLine(stderr.String()))
	case errors.Is(err, exec.ErrNotFound) && p.InstallHint != "":
		return nil, fmt.Errorf("%w: %s", err, p.InstallHint)
	}
	return stdout.Bytes(), err
}

func clusterInfo(config *rest.Config) *clientauth.Cluster {
	c := &clientauth.Cluster{
		Server: config.Host, TLSServerName: config.ServerName,
		InsecureSkipTLSVerify: config.Insecure, CertificateAuthorityData: config.CAData,
	}
	if unknown, ok := config.ExecProvider.Config.(*runtime.Unknown); ok {
		c.Config = runtime.RawExtension{Raw: unknown.Raw}
	}
	return c
}

// lastLine is what a program said last, cut to what fits into a condition.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return s[:min(len(s), 200)]
}
