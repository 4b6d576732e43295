package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"cke/internal/host"
)

var storeRE = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// fence is whom this machine obeys: one store, and of its leaders the newest
// ever seen. The file is only written under its lock.
type fence struct {
	StoreID string `json:"store_id"`
	Epoch   int64  `json:"epoch"`
}

func (a *Agent) fencePath() string { return filepath.Join(a.layout.host(), "fence.json") }

func (a *Agent) lockFence(ctx context.Context) (func(), error) {
	return lock(ctx, filepath.Join(a.layout.host(), "fence.lock"))
}

func checkIdentity(id host.Identity) error {
	if !storeRE.MatchString(id.StoreID) || id.Epoch < 0 {
		return invalid("the request does not say who calls: store %.80q, epoch %d", id.StoreID, id.Epoch)
	}
	return nil
}

// admit lets a mutating call through, or returns a *host.FencedError. It
// remembers a newer epoch, so that an older leader is refused from now on.
func (a *Agent) admit(ctx context.Context, id host.Identity) error {
	if err := checkIdentity(id); err != nil {
		return err
	}
	unlock, err := a.lockFence(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var f fence
	claimed, err := readJSON(a.fencePath(), &f)
	if err != nil {
		return err
	}
	if !claimed {
		if holds, err := a.holdsData(); err != nil {
			return err
		} else if holds != "" {
			return &host.FencedError{OtherStore: true, Reason: fmt.Sprintf(
				"the machine holds etcd data (%s) of a store it does not remember", holds)}
		}
	} else if err := f.refuses(id); err != nil {
		return err
	}
	if claimed && f.Epoch == id.Epoch {
		return nil
	}
	return writeJSON(a.fencePath(), fence(id))
}

func (f fence) refuses(id host.Identity) error {
	if f.StoreID != id.StoreID {
		return &host.FencedError{OtherStore: true, Reason: fmt.Sprintf(
			"the machine belongs to store %s, not to %s", f.StoreID, id.StoreID)}
	}
	if id.Epoch < f.Epoch {
		return &host.FencedError{Reason: fmt.Sprintf(
			"the machine has seen leader epoch %d, the caller's is %d", f.Epoch, id.Epoch)}
	}
	return nil
}

// stillAdmitted is asked while a long call waits: a newer leader ends it.
func (a *Agent) stillAdmitted(id host.Identity) error {
	var f fence
	claimed, err := readJSON(a.fencePath(), &f)
	if err != nil || !claimed {
		return err
	}
	return f.refuses(id)
}

// claim makes the machine the caller's, whoever had it.
func (a *Agent) claim(ctx context.Context, id host.Identity) error {
	if err := checkIdentity(id); err != nil {
		return err
	}
	unlock, err := a.lockFence(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	a.log.Info("claim machine", "store_id", id.StoreID, "epoch", id.Epoch)
	return writeJSON(a.fencePath(), fence(id))
}

// holdsData names something of CKE's that an unclaimed machine holds. What was
// set aside does not count: it is nobody's member any more.
func (a *Agent) holdsData() (string, error) {
	for _, k := range []struct {
		clusters string
		holds    func(cluster string) (string, error)
	}{
		{a.layout.config(""), a.holdsUnit},
		{a.layout.dataRoot(), a.holdsMember},
		{a.layout.state(""), a.holdsSeal},
	} {
		names, err := names(k.clusters)
		if err != nil {
			return "", err
		}
		for _, c := range names {
			if checkCluster(c) != nil {
				continue // such as lost+found
			}
			if path, err := k.holds(c); err != nil || path != "" {
				return path, err
			}
		}
	}
	return "", nil
}

func (a *Agent) holdsUnit(cluster string) (string, error) {
	_, err := os.Stat(a.layout.unit(cluster))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return a.layout.unit(cluster), err
}

func (a *Agent) holdsMember(cluster string) (string, error) {
	members, err := a.memberDirs(cluster)
	if err != nil || len(members) == 0 {
		return "", err
	}
	return a.layout.data(cluster, members[0]), nil
}

func (a *Agent) holdsSeal(cluster string) (string, error) {
	names, err := names(a.layout.state(cluster))
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if strings.HasPrefix(n, "seal-") {
			return filepath.Join(a.layout.state(cluster), n), nil
		}
	}
	return "", nil
}
