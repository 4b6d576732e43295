package kube

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"cke/test/kube/k8s"
)

// version is a slice as it was from a moment on.
type version struct {
	slice
	at      time.Time
	deleted bool
}

// sliceWatch remembers every version of cke-etcd's slice.
type sliceWatch struct {
	e      *env
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	seen []version
	err  error
}

// watchSlice begins with the present version and misses none: a watch that ends
// goes on from the last one.
func (e *env) watchSlice() *sliceWatch {
	e.t.Helper()
	var list struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	e.must(e.client.Get(e.ctx(), slicesPath, &list))
	ctx, cancel := context.WithCancel(context.Background())
	w := &sliceWatch{e: e, cancel: cancel}
	w.wg.Go(func() { w.run(ctx, list.Metadata.ResourceVersion) })
	e.t.Cleanup(func() { cancel(); w.wg.Wait() })
	return w
}

func (w *sliceWatch) run(ctx context.Context, from string) {
	for ctx.Err() == nil {
		err := w.e.client.Watch(ctx, slicesPath+ofService+"&watch=1&resourceVersion="+from, func(ev k8s.Event) {
			var v struct {
				slice
				Metadata struct {
					ResourceVersion string `json:"resourceVersion"`
				} `json:"metadata"`
			}
			if err := json.Unmarshal(ev.Object, &v); err != nil || ev.Type == "ERROR" {
				w.fail(errors.Join(err, errors.New(string(ev.Object))))
				return
			}
			from = v.Metadata.ResourceVersion
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen = append(w.seen, version{v.slice, time.Now(), ev.Type == "DELETED"})
		})
		var status *k8s.StatusError
		if errors.As(err, &status) && status.Code == 410 {
			w.fail(err) // versions were missed
			return
		}
		again(ctx)
	}
}

// again waits a moment before something is tried again.
func again(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

func (w *sliceWatch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = errors.Join(w.err, err)
}

// versions are those seen so far.
func (w *sliceWatch) versions() []version {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]version(nil), w.seen...)
}

// finish ends the watch and returns all it saw.
func (w *sliceWatch) finish() []version {
	w.e.t.Helper()
	w.cancel()
	w.wg.Wait()
	if w.err != nil {
		w.e.t.Errorf("watch the slice: %v", w.err)
	}
	return w.seen
}
