package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"cke/internal/backup"
)

type localBackupOptions struct {
	output     *outputFlag
	dir        string
	maxBackups positiveInt
}

func newLocalBackup(s *session) *cobra.Command {
	o := localBackupOptions{maxBackups: 10}
	cmd := &cobra.Command{
		Use:   "local-backup",
		Short: "Save etcd's data to a directory of this machine",
		Long: `Save a snapshot of etcd's data to a directory of the machine ckecli runs on, as
etcd-YYYYMMDD-hhmmss.backup (UTC, 0600). It gets that name only when it is
whole, checked and on disk; then the oldest beyond --max-backups are removed. No
other file in the directory is touched.`,
		Example: `  ckecli etcd local-backup
  ckecli etcd local-backup --dir ./backups --max-backups 3`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runLocalBackup(cmd.Context(), s, o) },
	}
	cmd.Flags().StringVar(&o.dir, "dir", "/var/cke/etcd-backups", "the directory")
	cmd.Flags().Var(&o.maxBackups, "max-backups", "how many to keep")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

func runLocalBackup(ctx context.Context, s *session, o localBackupOptions) error {
	c, name, err := s.connect(ctx)
	if err != nil {
		return err
	}
	r, estimate, err := c.Snapshot(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	onBytes, done := s.progress(o.output, estimate)
	made, err := backup.WriteLocal(ctx, backup.LocalOptions{
		Dir: o.dir, MaxBackups: int(o.maxBackups), Now: s.env.Now,
	}, r, onBytes)
	done()
	if made.Path == "" {
		return err
	}
	// An error beside a path is that of removing old ones: the new one stands.
	return errors.Join(s.print(o.output, made, func() string { return backupText(made) }), err)
}

func backupText(made backup.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "made %s (%s, keys: %d, revision %d)\n", made.Path, bytesText(made.Bytes), made.Keys, made.Revision)
	for _, old := range made.Removed {
		fmt.Fprintf(&b, "removed %s\n", old)
	}
	return b.String()
}

// progress draws a bar on stderr if a person is there to look at it.
func (s *session) progress(o *outputFlag, estimate int64) (onBytes func(int64), done func()) {
	if _, ok := terminal(s.env.Stderr); !ok || o.value == asJSON {
		return func(int64) {}, func() {}
	}
	if estimate <= 0 {
		estimate = -1 // draws a spinner
	}
	bar := newBar(s.env.Stderr, estimate)
	// A bar that cannot be drawn does not stop a backup.
	_ = bar.RenderBlank()
	onBytes = func(n int64) {
		if estimate > 0 {
			n = min(n, estimate)
		}
		_ = bar.Set64(n)
	}
	return onBytes, func() { _ = bar.Clear() }
}

func newBar(w io.Writer, size int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription("snapshot"),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(),
	)
}
