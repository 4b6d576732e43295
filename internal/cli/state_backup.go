package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

type stateBackupOptions struct {
	output *outputFlag
	force  bool
}

func newStateBackup(s *session) *cobra.Command {
	var o stateBackupOptions
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Save cke's own state to a file",
		Long: `Save cke's own state to FILE (0600). Without it a lost disk of cke's machine
would lose the certificate authorities for ever. The keys in it are sealed:
opening them takes cke's seal key file, which is not in FILE. Keep a copy of
that one too, and in another place.`,
		Example: `  ckecli state backup /mnt/backup/cke-state
  cke --restore-state /mnt/backup/cke-state    # on a new machine`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return runStateBackup(cmd.Context(), s, o, args[0]) },
	}
	cmd.Flags().BoolVar(&o.force, "force", false, "replace FILE if it exists")
	o.output = addOutput(cmd, asText, asJSON)
	return cmd
}

// stateBackupResult is the JSON of state backup.
type stateBackupResult struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

func runStateBackup(ctx context.Context, s *session, o stateBackupOptions, path string) error {
	exists := &usageError{message: path + " exists already", hint: "choose another name, or replace it with --force"}
	if _, err := os.Lstat(path); err == nil && !o.force {
		return exists
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	p, err := newPendingFile(path)
	if err != nil {
		return err
	}
	defer p.drop()
	if err := c.StateBackup(ctx, p.file); err != nil {
		return err
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	if err := p.keep(o.force); errors.Is(err, fs.ErrExist) {
		return exists
	} else if err != nil {
		return err
	}
	return s.print(o.output, stateBackupResult{path, info.Size()}, func() string {
		return fmt.Sprintf("made %s (%s)\n", path, bytesText(info.Size())) +
			"the seal key file is not in it: keep a copy of that one apart from this file,\n" +
			"for without it the keys in here cannot be opened\n"
	})
}
