package cluster

import "strings"

// MachineToBlame is what a stopped member said of its machine, or of its data, when it
// ended: no setting of etcd's is to blame for that, nor mends it. Empty when it said
// nothing of the kind.
func (u UnitState) MachineToBlame() string {
	if u.Running {
		return ""
	}
	for _, said := range []string{
		"no space left on device", "disk quota exceeded", "read-only file system", "input/output error", // ENOSPC, EDQUOT, EROFS, EIO
		"address already in use", "cannot assign requested address", // EADDRINUSE, EADDRNOTAVAIL
		"cannot allocate memory", "too many open files", // ENOMEM, EMFILE
		"found data inconsistency with peers",
	} {
		if strings.Contains(u.Exit, said) || strings.Contains(u.Log, said) {
			return said
		}
	}
	return ""
}
