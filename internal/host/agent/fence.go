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

var (
	storeRE = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
	proofRE = regexp.MustCompile(`^[A-Za-z0-9+/]{0,256}$`)
)

// fence is whom this machine obeys: one store, and of its leaders the newest
// ever seen. The file is only written under its lock.
type fence struct {
	StoreID string `json:"store_id"`
	Epoch   int64  `json:"epoch"`
	Proof   string `json:"proof,omitempty"`
}

func (a *Agent) fencePath() string { return filepath.Join(a.layout.host(), "fence.json") }

func (a *Agent) lockFence(ctx context.Context) (func(), error) {
	return lock(ctx, filepath.Join(a.layout.host(), "fence.lock"))
}

func checkIdentity(id host.Identity) error {
	if !storeRE.MatchString(id.StoreID) || id.Epoch < 0 || !proofRE.MatchString(id.Proof) {
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
	return writeJSON(a.fencePath(), fence{id.StoreID, id.Epoch, id.Proof})
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

// heeding remembers an elected leader from its first look on, so that the one
// before it is refused here although the new one has changed nothing yet.
func (a *Agent) heeding(do verb) verb {
	return func(ctx context.Context, id host.Identity, body decode) (any, error) {
		if id.Elected && checkIdentity(id) == nil {
			// The look goes on: a full disk has to be seen, and most of all by a new leader.
			if err := a.heed(ctx, id); err != nil {
				a.log.Warn("remember a new leader", "epoch", id.Epoch, "err", err)
			}
		}
		return do(ctx, id, body)
	}
}

func (a *Agent) heed(ctx context.Context, id host.Identity) error {
	newer := func() (bool, error) {
		var f fence
		claimed, err := readJSON(a.fencePath(), &f)
		return claimed && f.StoreID == id.StoreID && f.Epoch < id.Epoch, err
	}
	if is, err := newer(); !is || err != nil {
		return err
	}
	unlock, err := a.lockFence(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if is, err := newer(); !is || err != nil {
		return err
	}
	return writeJSON(a.fencePath(), fence{id.StoreID, id.Epoch, id.Proof})
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
	return writeJSON(a.fencePath(), fence{id.StoreID, id.Epoch, id.Proof})
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
