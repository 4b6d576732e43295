package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"cke/internal/cluster"
)

// login is what a kubeconfig gives, with all files read: client-go would read
// them again in its own time, in goroutines that nobody ends.
type login struct {
	config *rest.Config
	// files are all that were read, and print is of what was in them.
	files []string
	print string
	// expires is when the credentials of a plugin must be asked for again; zero if
	// they say nothing.
	expires time.Time
	plugin  bool
}

// enter reads a kubeconfig, or the pod's service account, and asks its plugin. With
// an error it says no more than whether that was the plugin's.
func enter(ctx context.Context, kubeconfig string, now time.Time) (login, error) {
	config, files, err := readConfig(kubeconfig)
	if err != nil {
		return login{}, err
	}
	l := login{config: config, files: files}
	// Printed before it is read: what changes between counts as changed.
	if l.print, err = printOf(files); err != nil {
		return login{}, err
	}
	if err := inline(config); err != nil {
		return login{}, err
	}
	if config.ExecProvider != nil {
		l.plugin = true
		if l.expires, err = askPlugin(ctx, config, now); err != nil {
			return l, err
		}
	}
	return l, nil
}

// outdated says whether any of the files is another now, or a plugin's
// credentials end.
func (l login) outdated(now time.Time) (bool, error) {
	current, err := printOf(l.files)
	if err != nil {
		return false, err
	}
	return current != l.print || !l.expires.IsZero() && now.After(l.expires), nil
}

// spent says whether a plugin's credentials had ended before they were used.
func (l login) spent(began time.Time) bool { return !l.expires.IsZero() && began.After(l.expires) }

func readConfig(kubeconfig string) (*rest.Config, []string, error) {
	if kubeconfig == cluster.InCluster {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, nil, fmt.Errorf("read the pod's service account: %w", err)
		}
		return config, []string{config.BearerTokenFile, config.CAFile}, nil
	}
	file, err := filepath.Abs(kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	raw, err := clientcmd.LoadFromFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file, reason(err))
	}
	if err := clientcmd.ResolveLocalPaths(raw); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file, err)
	}
	config, err := clientcmd.NewDefaultClientConfig(*raw, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file, err)
	}
	files := []string{file}
	for _, f := range []string{config.BearerTokenFile, config.CAFile, config.CertFile, config.KeyFile} {
		if f != "" {
			files = append(files, f)
		}
	}
	return config, files, nil
}

// inline puts the contents of files into the config in place of their names.
func inline(config *rest.Config) error {
	for _, f := range []struct {
		name *string
		data *[]byte
	}{{&config.CAFile, &config.CAData}, {&config.CertFile, &config.CertData}, {&config.KeyFile, &config.KeyData}} {
		if *f.name == "" {
			continue
		}
		data, err := os.ReadFile(*f.name)
		if err != nil {
			return fmt.Errorf("read %s: %w", *f.name, reason(err))
		}
		*f.name, *f.data = "", data
	}
	if config.BearerTokenFile != "" {
		data, err := os.ReadFile(config.BearerTokenFile)
		if err != nil {
			return fmt.Errorf("read %s: %w", config.BearerTokenFile, reason(err))
		}
		config.BearerTokenFile, config.BearerToken = "", strings.TrimSpace(string(data))
	}
	return nil
}

func printOf(files []string) (string, error) {
	h := sha256.New()
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", f, reason(err))
		}
		fmt.Fprintf(h, "%d ", len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// reason drops the path from an error of a file; the caller names it.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// unreadable is the condition of a kubeconfig that gives no login.
func unreadable(kubeconfig string, err error) fault {
	f := fault{ruleKubeconfigUnreadable, err.Error(), "see kubernetes.kubeconfig in cluster.yml, and that cke's user may read " + kubeconfig}
	if kubeconfig == cluster.InCluster {
		f.hint = "in-cluster works only in a pod with a service account; else give a file in kubernetes.kubeconfig"
	}
	return f
}
