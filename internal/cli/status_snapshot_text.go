package cli

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

// snapshotText is where the snapshot lies that was taken before the last change of
// etcd's version.
func snapshotText(s *cluster.Snapshot) string {
	if s == nil {
		return ""
	}
	where := ""
	if s.Host != "" {
		where = " on " + s.Host
	}
	text := fmt.Sprintf("snapshot before etcd %s: %s, %s%s\n  %s", s.To, s.At.UTC().Format(time.RFC3339), bytesText(s.Bytes), where, s.Path)
	return wrap(text, "", "  ")
}
