package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"cke/internal/cluster"
)

// maxList is far beyond any list: a member takes about 100 bytes.
const maxList = 1 << 20

// listFile notices when the list is another one.
type listFile struct {
	path string
	seen fingerprint
}

// fingerprint differs whenever a file was replaced or written to.
type fingerprint struct {
	device, inode uint64
	size          int64
	written       syscall.Timespec
	changed       syscall.Timespec
}

func fingerprintOf(path string) (fingerprint, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return fingerprint{}, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fingerprint{}, fmt.Errorf("stat %s: the system tells no inode", path)
	}
	return fingerprint{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// read reads the list whether it has changed or not.
func (f *listFile) read() (cluster.Gateway, error) {
	list, _, err := f.changed(true)
	return list, err
}

// changed reads the list if it is another than last time; with always, in any
// case.
func (f *listFile) changed(always bool) (list cluster.Gateway, changed bool, err error) {
	// Taken before the file is read: what is written meanwhile is seen next time.
	now, err := fingerprintOf(f.path)
	if err != nil {
		f.seen = fingerprint{}
		return cluster.Gateway{}, false, fmt.Errorf("read the list: %w", err)
	}
	if now == f.seen && !always {
		return cluster.Gateway{}, false, nil
	}
	f.seen = now
	list, err = readList(f.path)
	return list, err == nil, err
}

func readList(path string) (cluster.Gateway, error) {
	file, err := os.Open(path)
	if err != nil {
		return cluster.Gateway{}, fmt.Errorf("read the list: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxList+1))
	if err != nil {
		return cluster.Gateway{}, fmt.Errorf("read the list: %w", err)
	}
	list, err := parseList(text)
	if err != nil {
		return cluster.Gateway{}, fmt.Errorf("read the list %s: %w", path, err)
	}
	return list, nil
}

// parseList takes a list of any later CKE too: keys it does not know are no
// reason to lead nowhere.
func parseList(text []byte) (cluster.Gateway, error) {
	var list cluster.Gateway
	if len(text) > maxList {
		return list, fmt.Errorf("it is larger than %d bytes", maxList)
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return list, err
	}
	switch {
	case list.Cluster == "":
		return list, errors.New("it names no cluster")
	case list.Port == 0:
		return list, errors.New("it names no port")
	}
	var nodes []cluster.NodeName
	for i, u := range list.Upstreams {
		switch {
		case u.Node == "":
			return list, fmt.Errorf("upstream %d has no node", i)
		case !u.Address.IsValid() || u.Address.Port() == 0:
			return list, fmt.Errorf("upstream %s has no address and port", u.Node)
		case slices.Contains(nodes, u.Node):
			return list, fmt.Errorf("upstream %s is named twice", u.Node)
		}
		nodes = append(nodes, u.Node)
	}
	return list, nil
}
