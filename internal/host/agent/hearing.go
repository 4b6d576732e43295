package agent

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"cke/internal/cluster"
)

const (
	// hearingHolds is how long it counts that a member has heard its peers: who hears
	// nothing of its leader for an election timeout is cut off, as etcd itself sees it.
	hearingHolds = cluster.ElectionTimeout
	// stillHeard is how long a member is listened to, at most, where it is not known
	// yet that it has: its leader sends something with each heartbeat (100 ms unless set
	// otherwise).
	stillHeard = 300 * time.Millisecond
	// hearAgain is how soon it is asked again meanwhile.
	hearAgain = 50 * time.Millisecond
)

// hearing remembers how much members had received from their peers in the last
// moments, so that who is asked again and again how far it is need not be listened to
// each time.
type hearing struct {
	mu  sync.Mutex
	had map[cluster.MemberID][]received
}

// received is what a member had received from its peers at a time.
type received struct {
	at    time.Time
	bytes float64
}

// heard takes in what a member has received by now, and says whether some of that came
// within the last moments. Another process of the member counts from nothing: what it
// has beyond the one before came since as well.
func (h *hearing) heard(id cluster.MemberID, now time.Time, bytes float64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	is := false
	next := map[cluster.MemberID][]received{}
	for m, all := range h.had {
		for _, r := range all {
			if now.Sub(r.at) > hearingHolds {
				continue
			}
			is = is || m == id && r.bytes < bytes
			if m != id || r.bytes != bytes { // the newest of the same says most
				next[m] = append(next[m], r)
			}
		}
	}
	next[id] = append(next[id], received{now, bytes})
	h.had = next
	return is
}

// askProgress asks a member how far it is, and believes it only when it has heard its
// peers lately. Nothing is known of any other, nor of who is not wanted, who is not
// listened to.
func (h *hearing) askProgress(ctx context.Context, at netip.AddrPort, id cluster.MemberID, wanted func(progress) bool) (progress, error) {
	tick := time.NewTicker(hearAgain)
	defer tick.Stop()
	for range stillHeard/hearAgain + 1 {
		p, err := askProgress(ctx, at, id)
		if err != nil || p == (progress{}) {
			return progress{}, err
		}
		heard := h.heard(id, time.Now(), p.received)
		if !wanted(p) {
			return progress{}, nil
		}
		if heard {
			return p, nil
		}
		select {
		case <-ctx.Done():
			return progress{}, ctx.Err()
		case <-tick.C:
		}
	}
	return progress{}, nil
}
