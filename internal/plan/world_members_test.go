package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

// before is the line of that name: how far the log had come a while ago.
func (w *world) before(args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	w.st.Etcd.Before = &cluster.Front{At: w.now.Add(-d), Term: 2}
	if len(args) > 2 {
		w.st.Etcd.Before.Term--
	}
	_, err = fmt.Sscan(args[1], &w.st.Etcd.Before.Index)
	return err
}
