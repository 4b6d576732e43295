package observe

import (
	"context"
	"time"

	"cke/internal/cluster"
	"cke/internal/etcd"
)

const (
	// usageHolds is how long what was counted of the keys is shown.
	usageHolds = 2 * time.Minute
	// sampleEvery is how often the size of the data is noted; with maxSamples noted
	// every other one is dropped, and they come half as often.
	sampleEvery = time.Minute
	maxSamples  = 240
	// growthNeeds is how long the size must have been noted for it to tell a trend:
	// what etcd keeps of history makes it swing by as much as is written in between
	// two compactions.
	growthNeeds = 30 * time.Minute
)

// space is what an observer remembers of the room in the members' databases.
type space struct {
	compacted int64
	since     time.Time

	usage   []cluster.PrefixUsage
	counted time.Time

	samples []sample
	every   time.Duration
}

type sample struct {
	at    time.Time
	bytes int64
}

// compaction adds since when the history begins where it does. The caller holds
// the lock. Without the alarm data is written again, so that what was counted of it
// says nothing about the next one.
func (s *space) compaction(e *cluster.EtcdState, now time.Time) {
	c := e.Compaction
	if c == nil {
		if e.Quorum && !e.Alarmed(cluster.AlarmNoSpace) {
			s.compacted, s.since = 0, time.Time{}
			s.usage, s.counted = nil, time.Time{}
		}
		return
	}
	if s.compacted != 0 && s.compacted != c.Compacted {
		s.since = now
	}
	s.compacted, c.Since = c.Compacted, s.since
}

// note keeps a sample of how much data there is.
func (s *space) note(e cluster.EtcdState, now time.Time) {
	if s.every == 0 {
		s.every = sampleEvery
	}
	var least int64 // others may not have freed yet what this one has
	for _, m := range e.HealthyVoters() {
		if m.DBSizeInUse > 0 && (least == 0 || m.DBSizeInUse < least) {
			least = m.DBSizeInUse
		}
	}
	n := len(s.samples)
	if least == 0 || n > 0 && now.Sub(s.samples[n-1].at) < s.every {
		return
	}
	s.samples = append(s.samples, sample{now, least})
	if len(s.samples) < maxSamples {
		return
	}
	kept := s.samples[:0]
	for i, v := range s.samples {
		if i%2 == 0 {
			kept = append(kept, v)
		}
	}
	s.samples, s.every = kept, 2*s.every
}

// growth is the line through the samples that fits best (least squares); nil when
// there are too few.
func (s *space) growth() *cluster.Growth {
	n := len(s.samples)
	if n < 3 {
		return nil
	}
	first := s.samples[0]
	over := s.samples[n-1].at.Sub(first.at)
	if over < growthNeeds {
		return nil
	}
	var x, y, xx, xy float64
	for _, v := range s.samples {
		days, bytes := v.at.Sub(first.at).Hours()/24, float64(v.bytes-first.bytes)
		x, y, xx, xy = x+days, y+bytes, xx+days*days, xy+days*bytes
	}
	k := float64(n)
	return &cluster.Growth{PerDay: (k*xy - x*y) / (k*xx - x*x), Over: over}
}

// usage is where the data is, once it alone is too much for the quota: what was
// counted not long ago, or anew.
func (o *Observer) usage(ctx context.Context, w Wanted, e cluster.EtcdState) []cluster.PrefixUsage {
	if !e.Alarmed(cluster.AlarmNoSpace) || e.Compaction == nil {
		return nil
	}
	via, ok := fullOfData(w, e)
	if !ok {
		return nil
	}
	o.mu.Lock()
	last, counted := o.space.usage, o.space.counted
	o.mu.Unlock()
	if !counted.IsZero() && o.o.Now().Sub(counted) < usageHolds {
		return last
	}
	prefixes := []string{cluster.APIServerPath}
	for _, u := range w.Users {
		prefixes = append(prefixes, u.Prefix)
	}
	all, err := o.o.Etcd.Usage(ctx, via, prefixes)
	if err != nil {
		// The reason it is for is given all the same, without naming anybody.
		o.o.Log.Warn("count the keys", "err", err)
		return last
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.space.usage, o.space.counted = all, o.o.Now()
	return all
}

// fullOfData finds a follower to count on, where what every member has in use
// comes near its quota. It is about cost only: the rules decide by themselves.
func fullOfData(w Wanted, e cluster.EtcdState) (via etcd.Endpoint, ok bool) {
	for _, m := range e.HealthyVoters() {
		if m.Quota == 0 || m.DBSizeInUse < m.Quota/2 {
			return "", false
		}
		if ep, known := etcd.Of(w.Nodes(), m.PeerURL); known && (via == "" || !m.Leader) {
			via = ep
		}
	}
	return via, via != ""
}
