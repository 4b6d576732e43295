package reconcile

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/execute"
	"cke/internal/host"
	"cke/internal/observe"
)

// httpHosts puts the whole way of a question between the loop and its hosts:
// JSON, HTTP and the handler's side of both.
type httpHosts struct {
	w     *world
	hosts map[cluster.NodeName]host.Host
}

func newHTTPHosts(w *world) httpHosts {
	hs := httpHosts{w, map[cluster.NodeName]host.Host{}}
	for name, h := range w.hosts {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /v1/"+host.VerbFacts, func(rw http.ResponseWriter, r *http.Request) {
			var req host.FactsRequest
			if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
				http.Error(rw, err.Error(), http.StatusBadRequest)
				return
			}
			f, err := h.Facts(r.Context(), req.Cluster, netip.Addr{})
			if err != nil {
				http.Error(rw, err.Error(), http.StatusInternalServerError)
				return
			}
			_ = json.NewEncoder(rw).Encode(f) // the caller is gone
		})
		hs.hosts[name] = host.Local(mux, func() host.Identity { return host.Identity{StoreID: "a1", Epoch: 1} })
	}
	return hs
}

func (hs httpHosts) Host(n cluster.Node) (host.Host, error) { return hs.hosts[n.Hostname], nil }

// BenchmarkLook is one settled look at twenty hosts with five members, both
// ends of each question included: its processor time over the interval is what
// an idle cluster costs, beside etcd's own answers.
func BenchmarkLook(b *testing.B) {
	w := newWorld(b, 20, 5)
	hosts := newHTTPHosts(w)
	observer := observe.New(observe.Options{
		Hosts: hosts, Etcd: fakeEtcd{w}, Authority: w.authority, Now: time.Now,
		Identity: func() host.Identity { return host.Identity{StoreID: "a1", Epoch: 1} },
	})
	b.Cleanup(observer.Close)
	l := New(Options{
		Cluster: "main", Store: fakeStore{w}, Observer: observer, Etcd: fakeEtcd{w}, Hosts: hosts,
		Executor: execute.New(execute.Options{}), Interval: 10 * time.Second, Now: time.Now,
	})
	before := processorTime(b)
	for b.Loop() {
		if _, st, p, err := l.Look(b.Context()); err != nil || !p.Settled() || len(st.Nodes) != 20 {
			b.Fatalf("%v %v", err, p)
		}
	}
	cpu := processorTime(b) - before
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-us/look")
	b.ReportMetric(100*cpu.Seconds()/float64(b.N)/10, "%core-at-10s")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
