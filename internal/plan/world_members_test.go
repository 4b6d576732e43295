package plan

import (
	"fmt"
	"time"

	"cke/internal/cluster"
)

// members are the words about who is or was a member.
func (w *world) members(word string, args []string) (known bool, err error) {
	switch word {
	case "before":
		return true, w.before(args)
	case "setback":
		return true, w.setback(cluster.NodeName(args[0]), args[1:])
	default:
		return false, nil
	}
}

func (w *world) setback(name cluster.NodeName, args []string) error {
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	b := cluster.Setback{Last: w.now.Add(-d)}
	if _, err := fmt.Sscan(args[0], &b.Learners); err != nil {
		return err
	}
	if w.st.Setbacks == nil {
		w.st.Setbacks = cluster.Setbacks{}
	}
	w.st.Setbacks[name] = b
	return nil
}

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
