package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

// How much set-aside data is kept. The newest is kept whatever its age.
const (
	asideAge   = 30 * 24 * time.Hour
	asideCount = 5
)

// asideTime is the end of a set-aside directory's name, in UTC.
const asideTime = "20060102T150405.000Z"

func asideName(m cluster.MemberID, at time.Time) string {
	return m.String() + "-" + at.UTC().Format(asideTime)
}

func parseAside(name string) (time.Time, bool) {
	id, at, ok := strings.Cut(name, "-")
	if !ok {
		return time.Time{}, false
	}
	if _, err := cluster.ParseMemberID(id); err != nil {
		return time.Time{}, false
	}
	t, err := time.Parse(asideTime, at)
	return t, err == nil
}

func freeName(dir string, m cluster.MemberID, at time.Time) (string, error) {
	for ; ; at = at.Add(time.Millisecond) {
		path := filepath.Join(dir, asideName(m, at))
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		} else if err != nil {
			return "", err
		}
	}
}

// aside is a set-aside directory and where it lies.
type aside struct {
	path string
	name string
	at   time.Time
}

// listAside returns what was set aside, newest first.
func (a *Agent) listAside(cluster string) ([]aside, error) {
	var out []aside
	for _, dir := range a.layout.asides(cluster) {
		found, err := names(dir)
		if err != nil {
			return nil, err
		}
		for _, n := range found {
			if at, ok := parseAside(n); ok {
				out = append(out, aside{path: filepath.Join(dir, n), name: n, at: at})
			}
		}
	}
	slices.SortFunc(out, func(x, y aside) int { return y.at.Compare(x.at) })
	return out, nil
}

// prune deletes what was set aside long ago or too often, never the newest.
func (a *Agent) prune(cluster string) error {
	all, err := a.listAside(cluster)
	if err != nil {
		return err
	}
	for i, d := range all {
		if i == 0 || i < asideCount && a.now().Sub(d.at) <= asideAge {
			continue
		}
		a.log.Info("prune set-aside data", "cluster", cluster, "path", d.path)
		if err := os.RemoveAll(d.path); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) asideFacts(cluster string) ([]host.AsideDir, error) {
	all, err := a.listAside(cluster)
	if err != nil {
		return nil, err
	}
	var out []host.AsideDir
	for _, d := range all {
		n, err := dataBytes(d.path)
		if err != nil {
			return nil, err
		}
		out = append(out, host.AsideDir{Name: d.name, At: d.at, Bytes: n})
	}
	return out, nil
}
