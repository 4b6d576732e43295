package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/host/agent"
)

// machines are agents on loopback addresses, by node. One that is nil cannot be
// reached.
type machines map[cluster.NodeName]host.Host

func (m machines) Host(n cluster.Node) (host.Host, error) {
	if h := m[n.Hostname]; h != nil {
		return h, nil
	}
	return nil, errors.New("no route to host")
}

// hung is a machine whose helper takes every question and answers none.
type hung struct{ host.Host }

func (hung) AnswerPeers(ctx context.Context, _ host.AnswerPeers, _ func(host.Answering)) error {
	<-ctx.Done()
	return ctx.Err()
}

func someone() host.Identity { return host.Identity{StoreID: "store-a", Epoch: 1} }

// directory is removed once an agent has let go of it, which may be while the
// test is over already.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cke-observe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for begin := time.Now(); os.RemoveAll(dir) != nil; {
			if time.Since(begin) > time.Minute {
				t.Errorf("%s is not let go of", dir)
				return
			}
		}
	})
	return dir
}

// world is three machines that are fit, and an observer whose clock is off.
func world(t *testing.T, off time.Duration) (Wanted, machines, *Observer) {
	t.Helper()
	w, hosts := Wanted{Spec: cluster.Spec{Name: "main"}}, machines{}
	network := [4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(255)), 0}
	for i, name := range []cluster.NodeName{"cp1", "cp2", "cp3"} {
		network[3] = byte(i + 1)
		w.Spec.Nodes = append(w.Spec.Nodes, cluster.Node{Hostname: name, Address: netip.AddrFrom4(network), ControlPlane: true})
		hosts[name] = host.Local(agent.New(agent.Options{Root: directory(t), Releases: directory(t)}).Handler(), someone)
	}
	w.Spec.Nodes = append(w.Spec.Nodes, cluster.Node{Hostname: "worker", Address: netip.MustParseAddr("192.0.2.1")})
	o := New(Options{Hosts: hosts, Identity: someone, Now: func() time.Time { return time.Now().Add(off) }, Log: slog.New(slog.DiscardHandler)})
	return w, hosts, o
}

// tells sorts a node's links into those that work, and why others were not tried.
func tells(m cluster.Measured) (works int, unasked, fails []string) {
	for _, l := range m.Links {
		switch {
		case l.Unasked != "":
			unasked = append(unasked, string(l.Other)+": "+l.Unasked)
		case l.Err != "":
			fails = append(fails, string(l.Other)+": "+l.Err)
		default:
			works++
		}
	}
	return works, unasked, fails
}

// reached measures once more when a way was not open, and once again: the machine may
// have stood still. No measuring takes longer than a hung machine lets it.
func reached(t *testing.T, measure func() map[cluster.NodeName]cluster.Measured) (got map[cluster.NodeName]cluster.Measured) {
	t.Helper()
	for range 3 {
		begin := time.Now()
		got = measure()
		if took := time.Since(begin); took > 4*measurePatience {
			t.Errorf("it took %s", took)
		}
		well := true
		for _, m := range got {
			_, _, fails := tells(m)
			well = well && m.Err == "" && fails == nil
		}
		if well {
			break
		}
	}
	return got
}

func TestMeasureAll(t *testing.T) {
	t.Parallel()
	w, _, o := world(t, time.Hour)
	got := reached(t, func() map[cluster.NodeName]cluster.Measured {
		return o.Measure(t.Context(), w, []cluster.NodeName{"cp1", "cp2", "cp3"})
	})
	if len(got) != 3 {
		t.Fatalf("%d nodes", len(got))
	}
	for name, m := range got {
		works, unasked, fails := tells(m)
		if m.Err != "" || works != 8 || unasked != nil || fails != nil {
			t.Errorf("%s: %s, %d links work, %q, %q", name, m.Err, works, unasked, fails)
		}
		if off := m.Skew + time.Hour; off.Abs() > m.Unsure+time.Millisecond || m.Unsure < 0 || m.Unsure > time.Minute {
			t.Errorf("%s: skew %s give or take %s", name, m.Skew, m.Unsure)
		}
		for _, l := range m.Links {
			if !l.Listens {
				t.Errorf("%s: %+v", name, l)
			}
		}
	}
	// The next look has it, until the node is gone.
	seen := o.nodes(t.Context(), w)
	if m := seen["cp1"].Measured; m == nil || !m.At.Equal(got["cp1"].At) || seen["worker"].Measured != nil {
		t.Errorf("observed %+v", seen["cp1"])
	}
	w.Spec.Nodes = slices.Delete(w.Spec.Nodes, 0, 1)
	o.nodes(t.Context(), w)
	if _, kept := o.measured["cp1"]; kept {
		t.Error("a node that is gone is remembered")
	}
}

func TestMeasureWithoutTheThird(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(machines){
		"away": func(m machines) { m["cp3"] = nil },
		"hung": func(m machines) { m["cp3"] = hung{m["cp3"]} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, hosts, o := world(t, 0)
			spoil(hosts)
			got := reached(t, func() map[cluster.NodeName]cluster.Measured {
				return o.Measure(t.Context(), w, []cluster.NodeName{"cp1", "cp2"})
			})
			for n, m := range got {
				works, unasked, fails := tells(m)
				if m.Err != "" || works != 4 || len(unasked) != 3 || fails != nil {
					t.Errorf("%s: %s, %d links work, %q, %q", n, m.Err, works, unasked, fails)
				}
			}
		})
	}
}

func TestMeasureWhatCannotBeAsked(t *testing.T) {
	t.Parallel()
	w, hosts, o := world(t, 0)
	hosts["cp2"] = nil
	got := o.Measure(t.Context(), w, []cluster.NodeName{"cp2", "worker"})
	if m := got["cp2"]; m.Err != "no route to host" || m.Links != nil {
		t.Errorf("%+v", m)
	}
	if m := got["worker"]; m.Err != "no route to host" {
		t.Errorf("%+v", m)
	}
}

func TestMeasureCutShortIsForgotten(t *testing.T) {
	t.Parallel()
	w, _, o := world(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Measure(ctx, w, []cluster.NodeName{"cp1"})
	if len(o.measured) > 0 {
		t.Errorf("remembered: %+v", o.measured)
	}
}

// distrusted is a machine whose key nobody has accepted yet.
type distrusted struct{ host.Host }

func (distrusted) trouble() error {
	return fmt.Errorf("preflight: %w", &host.UnreachableError{
		Err: &host.TroubleError{Trouble: cluster.HostKeyUnknown, Message: "the key is not known", Hint: "trust it"}, Next: time.Now(),
	})
}

func (d distrusted) Preflight(context.Context, string, netip.Addr) (cluster.Machine, error) {
	return cluster.Machine{}, d.trouble()
}

func (d distrusted) AnswerPeers(context.Context, host.AnswerPeers, func(host.Answering)) error {
	return d.trouble()
}

func (d distrusted) ReachPeers(context.Context, host.ReachPeers) ([]cluster.Reach, error) {
	return nil, d.trouble()
}

// Once its key is trusted, a machine must not be held back by an answer that it
// never gave.
func TestMeasureRemembersNothingOfWhomItDidNotAsk(t *testing.T) {
	t.Parallel()
	w, hosts, o := world(t, 0)
	hosts["cp2"] = distrusted{}
	if m := o.Measure(t.Context(), w, []cluster.NodeName{"cp1", "cp2"})["cp2"]; m.Err != "the key is not known" || m.Hint != "trust it" {
		t.Errorf("%+v", m)
	}
	if _, ok := o.measured["cp1"]; !ok || len(o.measured) != 1 {
		t.Errorf("remembered: %+v", o.measured)
	}
}
