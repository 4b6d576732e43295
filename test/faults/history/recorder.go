package history

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Recorder collects a history from many goroutines. Its clock is monotonic.
type Recorder struct {
	began time.Time

	mu      sync.Mutex
	next    int
	history History
	watches []*Watch
}

// NewRecorder begins a history.
func NewRecorder(seed uint64) *Recorder {
	return &Recorder{began: time.Now(), history: History{Seed: seed}}
}

// Now is the history's time.
func (r *Recorder) Now() time.Duration { return time.Since(r.began) }

// ID is a number nobody else gets.
func (r *Recorder) ID() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	return r.next
}

// Op adds an operation that is over.
func (r *Recorder) Op(o Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Ops = append(r.history.Ops, o)
}

// Attempt adds an attempt.
func (r *Recorder) Attempt(a Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Attempts = append(r.history.Attempts, a)
}

// Window adds a time in which every client was to be served.
func (r *Recorder) Window(w Window) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Windows = append(r.history.Windows, w)
}

// Stall adds a time in which a member stood still.
func (r *Recorder) Stall(w Window) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Stalls = append(r.history.Stalls, w)
}

// Watch begins a watch. Its events are added by WatchEvents and WatchGap.
func (r *Recorder) Watch(client, prefix string, from int64) *Watch {
	w := &Watch{Client: client, Prefix: prefix, From: from}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watches = append(r.watches, w)
	return w
}

// WatchStream counts a stream of a watch.
func (r *Recorder) WatchStream(w *Watch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Streams++
}

// WatchEnd notes why a stream of a watch ended.
func (r *Recorder) WatchEnd(w *Watch, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.Ends == nil {
		w.Ends = map[string]int{}
	}
	w.Ends[why.Error()]++
}

// WatchEvents adds what a watch was told.
func (r *Recorder) WatchEvents(w *Watch, events ...Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Events = append(w.Events, events...)
}

// WatchGap adds what a watch cannot be told any more.
func (r *Recorder) WatchGap(w *Watch, g Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Gaps = append(w.Gaps, g)
}

// Count is how many operations, and attempts that were answered, each client has
// had a certain answer to since a time.
func (r *Recorder) Count(since time.Duration) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := map[string]int{}
	for _, o := range slices.Backward(r.history.Ops) {
		if o.Return < since-maxCall {
			break // they are added when they end
		}
		if o.Call >= since && o.Outcome == OK {
			n[o.Client]++
		}
	}
	for _, a := range slices.Backward(r.history.Attempts) {
		if a.At < since-maxCall {
			break
		}
		if a.At >= since && a.Verdict == Kept {
			n[a.Client]++
		}
	}
	return n
}

// maxCall bounds how long a client waits for an answer, with room.
const maxCall = time.Minute

// Latest is the last revision of a watch, 0 before any.
func (r *Recorder) Latest(w *Watch) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(w.Events) == 0 {
		return 0
	}
	return w.Events[len(w.Events)-1].Revision
}

// History is what was recorded so far.
func (r *Recorder) History() History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.history
	h.Ops, h.Attempts = slices.Clone(h.Ops), slices.Clone(h.Attempts)
	h.Windows, h.Stalls = slices.Clone(h.Windows), slices.Clone(h.Stalls)
	for _, w := range r.watches {
		c := *w
		c.Events, c.Gaps, c.Ends = slices.Clone(w.Events), slices.Clone(w.Gaps), maps.Clone(w.Ends)
		h.Watches = append(h.Watches, c)
	}
	return h
}

// Save writes a history to a file, packed when its name says so.
func (h History) Save(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("save the history: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if !strings.HasSuffix(path, ".gz") {
		return json.NewEncoder(f).Encode(h)
	}
	z := gzip.NewWriter(f)
	return errors.Join(json.NewEncoder(z).Encode(h), z.Close())
}

// Load reads what Save wrote.
func Load(path string) (History, error) {
	var h History
	f, err := os.Open(path)
	if err != nil {
		return h, fmt.Errorf("load a history: %w", err)
	}
	defer f.Close()
	in := json.NewDecoder(f)
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return h, fmt.Errorf("load %s: %w", path, err)
		}
		in = json.NewDecoder(z)
	}
	if err := in.Decode(&h); err != nil {
		return h, fmt.Errorf("load %s: %w", path, err)
	}
	return h, nil
}
