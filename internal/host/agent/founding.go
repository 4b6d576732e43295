package agent

import (
	"path/filepath"
	"strings"

	"cke/internal/cluster"
	"cke/internal/host"
)

// CKE's own state may be older than the machines, as after it was restored from
// a backup of before the bootstrap. Such a CKE would found every cluster a
// second time. The machines know better: one that carried a member of a cluster
// founds no cluster of that name again, until a person says so by hand.

// allowFounding refuses a unit that founds a cluster the machine has had
// already. A member that has its own data founds nothing, whatever its unit says.
func (a *Agent) allowFounding(u cluster.Unit) error {
	if u.Founding == nil || !u.Founding.New {
		return nil
	}
	_, known, err := a.readSeal(u.Cluster, u.Member)
	if err != nil {
		return err
	}
	d, err := a.inspect(u.Cluster, u.Member)
	if err != nil || known && d.wal {
		return err
	}
	left, err := a.carried(u)
	if err != nil || left == "" {
		return err
	}
	return refuse(host.FoundedBefore, "the machine carried a member of cluster %s before and keeps %s of it: founding it now would make a second cluster of that name; to really found it anew, move that away by hand",
		u.Cluster, left)
}

// carried names what another member of the unit's cluster left here.
func (a *Agent) carried(u cluster.Unit) (string, error) {
	aside, err := a.listAside(u.Cluster)
	if err != nil {
		return "", err
	}
	if len(aside) > 0 {
		return filepath.Dir(aside[0].path), nil // all that was set aside, for one move
	}
	members, err := a.memberDirs(u.Cluster)
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if d, err := a.inspect(u.Cluster, m); err != nil {
			return "", err
		} else if m != u.Member && d.used {
			return a.layout.data(u.Cluster, m), nil
		}
	}
	seals, err := a.seals(u.Cluster)
	if err != nil {
		return "", err
	}
	for _, m := range seals {
		if s, _, err := a.readSeal(u.Cluster, m); err != nil {
			return "", err
		} else if m != u.Member && s.Sealed {
			return a.layout.seal(u.Cluster, m), nil
		}
	}
	return "", nil
}

// seals are the members that the machine remembers.
func (a *Agent) seals(c string) ([]cluster.MemberID, error) {
	found, err := names(a.layout.state(c))
	if err != nil {
		return nil, err
	}
	var out []cluster.MemberID
	for _, n := range found {
		id, ok := strings.CutPrefix(strings.TrimSuffix(n, filepath.Ext(n)), "seal-")
		if m, err := cluster.ParseMemberID(id); ok && err == nil {
			out = append(out, m)
		}
	}
	return out, nil
}
