package observe

import (
	"fmt"
	"sync"

	"cke/internal/cluster"
)

// Newest remembers the newest leader of this store that any host has told of. A
// daemon that was deposed once stays so, although that host falls silent or leaves:
// members would obey it as they obey the other. All clusters of a daemon share it.
type Newest struct {
	mu    sync.Mutex
	epoch int64
	node  cluster.NodeName
}

func (n *Newest) saw(node cluster.NodeName, epoch int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if epoch > n.epoch {
		n.epoch, n.node = epoch, node
	}
}

// beyond says why a leader of this epoch may not act; empty when it may.
func (n *Newest) beyond(epoch int64) (cluster.NodeName, string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.epoch <= epoch {
		return "", ""
	}
	return n.node, fmt.Sprintf("a newer leader of this store has acted on %s (epoch %d, this one is %d)", n.node, n.epoch, epoch)
}
