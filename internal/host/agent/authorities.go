package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"cke/internal/host"
)

// authoritiesPath remembers the process that read other certificate authorities at
// its start than those that are installed now: etcd reads them then only.
func (a *Agent) authoritiesPath(c string) string {
	return filepath.Join(a.layout.state(c), "authorities.json")
}

// authoritiesChange notes, before they are replaced, that the running member will
// not know of other authorities until it is restarted.
func (a *Agent) authoritiesChange(ctx context.Context, req host.PutFiles) error {
	changes := slices.ContainsFunc([]host.FileKind{host.ClientCA, host.PeerCA}, func(k host.FileKind) bool {
		b, put := req.Files[k]
		old, err := os.ReadFile(a.layout.file(req.Cluster, k))
		return put && (err != nil || !slices.Equal(old, b))
	})
	if !changes {
		return nil
	}
	st, err := a.runtime.state(ctx, req.Cluster)
	if err != nil || !st.running {
		return err
	}
	return writeJSON(a.authoritiesPath(req.Cluster), st.who)
}

// readOthers says whether the running member read other authorities at its start.
func (a *Agent) readOthers(c string, st procState) (bool, error) {
	var who process
	known, err := readJSON(a.authoritiesPath(c), &who)
	return known && st.running && who == st.who, err
}
