package hosts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/plan"
	"cke/test/drive"
)

// killedDuring begins something with a daemon that is killed after one of its first
// effects, drawn by chance, and lets another finish it.
func (s *scenes) killedDuring(first int, begin func(), over func(api.Status) bool) {
	s.t.Helper()
	s.daemon.Kill()
	n := 1 + s.rnd.IntN(first)
	if !s.daemon.StartWith([]string{"CKE_EFFECT_TRACE=" + s.Write("trace", ""), "CKE_EFFECT_KILL=" + strconv.Itoa(n)}) {
		s.t.Fatal("the daemon ended before anything began")
	}
	begin()
	s.Eventually("the daemon is killed", func() error {
		select {
		case <-s.daemon.Ended():
			return nil
		default:
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
		defer cancel()
		if st, err := s.Client().Status(ctx, "main"); err == nil && over(st) {
			s.t.Fatalf("all was done before effect %d", n)
		}
		return fmt.Errorf("it has not come to effect %d", n)
	})
	s.daemon.Kill()
	s.daemon.Start()
	effects := strings.Split(drive.LastLines(filepath.Join(s.Dir, "trace"), n+1), "\n")
	s.t.Logf("the daemon was killed after %q", effects)
	if len(effects) != n {
		s.t.Errorf("it was to be killed after %d effects", n)
	}
	s.Until("another finishes it", func(st api.Status) error {
		if !over(st) {
			return errors.New("it is not over")
		}
		return nil
	})
}

// lookTwice waits until CKE has looked again, twice.
func (s *scenes) lookTwice() {
	s.t.Helper()
	for range 2 {
		last := s.Status().ObservedAt
		s.Until("CKE looks again", func(st api.Status) error {
			if !st.ObservedAt.After(last) {
				return errors.New("it has not")
			}
			return nil
		})
	}
}

// told checks what a reason says to a person, its hint included.
func (s *scenes) told(r plan.Reason, parts ...string) {
	s.t.Helper()
	s.Says(r.Rule, r.String(), parts...)
}

// tells waits until the plan gives a reason in these words: what hosts say of it may
// come a moment after the rest.
func (s *scenes) tells(rule string, node cluster.NodeName, parts ...string) {
	s.t.Helper()
	s.Until("the plan says "+rule, func(st api.Status) error {
		var said []string
		for _, r := range st.Plan.Reasons {
			if r.Rule != rule || node != "" && r.Node != node {
				continue
			}
			text := r.String()
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) }) {
				return nil
			}
			said = append(said, text)
		}
		return fmt.Errorf("it says %q, and not %q", said, parts)
	})
}

// changes counts what was done to the membership.
func (s *scenes) changes() int {
	s.t.Helper()
	n := 0
	for _, r := range s.History() {
		if r.Step != nil && slices.Contains([]plan.Kind{plan.RemoveMember, plan.AddLearner, plan.PromoteLearner}, r.Step.Kind) {
			n++
		}
	}
	return n
}

func (s *scenes) unchanged(before int) {
	s.t.Helper()
	if n := s.changes() - before; n != 0 {
		s.t.Errorf("%d changes of the membership for a member that only had to come back", n)
	}
}

// typed types commands on the box, bash those of a machine, as root.
func (s *scenes) typed(script string) {
	s.t.Helper()
	if r := s.Type(script); r.Code != 0 {
		s.t.Fatalf("exit %d of\n%s\n%s%s", r.Code, script, r.Stdout, r.Stderr)
	}
}

func (s *scenes) bash(i int, script string) string {
	s.t.Helper()
	out, err := s.lab.Machine(i).ExecInput(s.ctx(), "set -euo pipefail\n"+script, "bash", "-s")
	if err != nil {
		s.t.Fatalf("%v, of\n%s\n%s", err, script, out)
	}
	return out
}

// mustSend puts one of the built programs on a machine.
func (s *scenes) mustSend(i int, program, path string) {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Bin, program))
	s.must(err)
	s.must(s.lab.Machine(i).WriteFile(s.ctx(), path, b, "0755"))
}

// keys counts the tenant's keys.
func (s *scenes) keys(c api.Certificate, nodes ...int) int64 {
	s.t.Helper()
	cl := s.Connect(c, s.addrs(nodes...)...)
	var count int64
	s.Eventually("count keys", func() error {
		resp, err := cl.Get(s.ctx(), "/app/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil {
			count = resp.Count
		}
		return err
	})
	return count
}

// counted is CountSteps of a daemon that may be killed any moment: 0 when it was.
func (s *scenes) counted(k plan.Kind) int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	h, err := s.Client().History(ctx, "main", 1000)
	if err != nil {
		return 0
	}
	n := 0
	for _, r := range h {
		if r.Step != nil && r.Step.Kind == k && r.Error == "" {
			n++
		}
	}
	return n
}

// votes says whether a machine carries a voter that serves.
func votes(st api.Status, node cluster.NodeName) bool {
	return slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool {
		return n.Hostname == node && n.Member != nil && !n.Member.Learner && n.Member.Healthy
	})
}

func memberOn(st api.Status, node cluster.NodeName) cluster.MemberID {
	if m := memberAt(st, node); m != nil {
		return m.ID
	}
	return 0
}

// sameIndex: in a quiet cluster, all know the last write to be committed.
func sameIndex(st api.Status) error {
	indexes := map[uint64]bool{}
	for _, n := range st.Nodes {
		if n.Member == nil || !n.Member.Healthy {
			return errors.New("a member does not serve")
		}
		indexes[n.Member.RaftIndex] = true
	}
	if len(indexes) != 1 {
		return fmt.Errorf("%d different indexes", len(indexes))
	}
	return nil
}

// endpointsAre says what of the gateway's list on h1 and of an API server's flags
// does not lead to exactly these machines.
func (s *scenes) endpointsAre(st api.Status, nodes ...int) error {
	s.t.Helper()
	var upstreams []cluster.NodeName
	for _, n := range st.Nodes {
		if n.Hostname == "h1" && n.Gateway != nil && n.Gateway.Applied {
			for _, u := range n.Gateway.Gateway.Upstreams {
				upstreams = append(upstreams, u.Node)
			}
		}
	}
	slices.Sort(upstreams)
	if want := s.names(nodes...); !slices.Equal(upstreams, want) {
		return fmt.Errorf("the gateway leads to %v, not to %v", upstreams, want)
	}
	flags := s.CLI("kubernetes", "etcd-config")
	for i := 1; i <= 5; i++ {
		if strings.Contains(flags, s.addr(i)+":") != slices.Contains(nodes, i) {
			return fmt.Errorf("an API server is told %s", flags)
		}
	}
	return nil
}
