package observe

import (
	"context"
	"time"

	"cke/internal/cluster"
)

const (
	// hashesHold is how long the members' hashes are shown, at least.
	hashesHold = 10 * time.Second
	// hashesRest is how many times as long as they took they are shown: to take them
	// reads every member's whole database, and the members have clients to serve.
	hashesRest = 10
)

// hashed is when the members' data was compared last, and what came out.
type hashed struct {
	at     time.Time
	took   time.Duration
	hashes []cluster.MemberHash
	// asked are the members that served then.
	asked map[cluster.MemberID]bool
}

func (h hashed) holds(e cluster.EtcdState, now time.Time) bool {
	if h.hashes == nil || now.Sub(h.at) >= max(hashesHold, hashesRest*h.took) {
		return false
	}
	for _, m := range e.Voters() {
		if m.Healthy != h.asked[m.ID] {
			return false
		}
	}
	return true
}

// hashes compares the voters' data when there is a reason to.
func (o *Observer) hashes(ctx context.Context, w Wanted, st cluster.State) []cluster.MemberHash {
	if !st.Etcd.Quorum {
		return nil
	}
	now := o.o.Now()
	o.mu.Lock()
	if !st.Suspicious() { // the next suspicion is another
		o.hashed = hashed{}
		o.mu.Unlock()
		return nil
	}
	last := o.hashed
	o.mu.Unlock()
	if last.holds(st.Etcd, now) {
		return last.hashes
	}
	fresh := hashed{hashes: o.Hashes(ctx, w, st.Etcd), at: o.o.Now(), asked: map[cluster.MemberID]bool{}}
	fresh.took = fresh.at.Sub(now)
	for _, m := range st.Etcd.Voters() {
		fresh.asked[m.ID] = m.Healthy
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hashed = fresh
	if differ(fresh.hashes) {
		o.differed = fresh.at
	}
	return fresh.hashes
}

func differ(hashes []cluster.MemberHash) bool {
	for _, h := range hashes {
		for _, o := range hashes {
			if h.Comparable(o) && h.Hash != o.Hash {
				return true
			}
		}
	}
	return false
}

// lastDiffered is when the voters' data was last seen to differ.
func (o *Observer) lastDiffered() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.differed
}

// Hashes compares the voters' data now, for a step immediately before an act.
func (o *Observer) Hashes(ctx context.Context, w Wanted, e cluster.EtcdState) []cluster.MemberHash {
	return o.o.Etcd.Hashes(ctx, e.Members, w.Nodes())
}
