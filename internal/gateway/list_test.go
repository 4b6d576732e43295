package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseList(t *testing.T) {
	t.Parallel()
	const good = `{"cluster":"main","port":12379,"upstreams":[{"node":"a","address":"10.0.0.1:2379"},{"node":"b","address":"[fd00::2]:2379","draining":true}]}`
	for name, c := range map[string]struct{ text, want string }{
		"good":                 {good, ""},
		"of a later CKE":       {strings.Replace(good, `"port"`, `"weights":{"a":1},"port"`, 1), ""},
		"no upstreams":         {`{"cluster":"main","port":1,"upstreams":[]}`, ""},
		"empty file":           {"", "unexpected end"},
		"cut off":              {good[:len(good)/2], "unexpected end"},
		"twice":                {good + good, "after top-level value"},
		"not a list":           {`[]`, "cannot unmarshal"},
		"no cluster":           {strings.Replace(good, "main", "", 1), "no cluster"},
		"no port":              {strings.Replace(good, "12379", "0", 1), "no port"},
		"a port beyond all":    {strings.Replace(good, "12379", "70000", 1), "cannot unmarshal"},
		"no node":              {strings.Replace(good, `"a"`, `""`, 1), "upstream 0 has no node"},
		"one node twice":       {strings.Replace(good, `"b"`, `"a"`, 1), "upstream a is named twice"},
		"no address":           {strings.Replace(good, "10.0.0.1:2379", "", 1), "upstream a has no address"},
		"a name for a address": {strings.Replace(good, "10.0.0.1", "cp1", 1), "ParseAddr"},
		"no upstream port":     {strings.Replace(good, "1:2379", "1:0", 1), "upstream a has no address"},
		"too large":            {strings.Repeat(" ", maxList) + good, "larger than"},
	} {
		_, err := parseList([]byte(c.text))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestABadListLeavesTheLastGoodOneInForce(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a", echo), newMember(t, "b", echo)
	r := start(t, nil, a)
	conn := r.talk(t)
	good, err := os.ReadFile(r.listPath())
	must(t, err)
	for _, bad := range []struct {
		what string
		do   func()
		want string
	}{
		{"cut off", func() { r.write(t, string(good[:len(good)-5])) }, "unexpected end"},
		{"written to in place", func() { must(t, os.WriteFile(r.listPath(), []byte("x"), 0o600)) }, "invalid character"},
		{"gone", func() { must(t, os.Remove(r.listPath())) }, "no such file"},
		{"a directory", func() { must(t, os.Mkdir(r.listPath(), 0o700)) }, "is a directory"},
	} {
		bad.do()
		r.until(t, "a list that is "+bad.what+" is told of", func(s State) bool { return strings.Contains(s.Error, bad.want) })
		if s := r.state(t); len(s.Gateway.Upstreams) != 1 {
			t.Errorf("%s: it goes by %+v", bad.what, s.Gateway)
		}
		exchange(t, conn, "still there")
		exchange(t, r.dial(t), "and for others")
	}
	must(t, os.Remove(r.listPath()))
	r.apply(t, b)
	if s := r.state(t); s.Error != "" {
		t.Errorf("with a good list again: %s", s.Error)
	}
	if n := strings.Count(r.log.String(), "unexpected end"); n != 1 {
		t.Errorf("the log tells %d times of one bad list", n)
	}
}

func TestASignalHasTheListReadAtOnce(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a", echo), newMember(t, "b", echo)
	r := start(t, func(r *rig) { r.pace.poll = time.Hour }, a)
	r.put(t, b)
	r.wake <- syscall.SIGHUP
	r.until(t, "the list is applied", func(s State) bool { return s.Gateway.Upstreams[0].Node == "b" })
}

func TestAnEmptyListRefusesAndSaysSo(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.mustRefuse(t)
	r.until(t, "it is told", func(s State) bool { return s.Failed == 1 && strings.Contains(s.Error, "no upstream") })
	a := newMember(t, "a", echo)
	r.apply(t, a)
	exchange(t, r.dial(t), "hello")
	if s := r.state(t); s.Error != "" {
		t.Errorf("with a member: %s", s.Error)
	}
}

func TestAnotherPort(t *testing.T) {
	t.Parallel()
	a := newMember(t, "a", echo)
	r := start(t, func(r *rig) { r.pace.retry = time.Millisecond }, a)
	before := r.talk(t)
	old := r.at

	taken := netip.AddrPortFrom(old.Addr(), old.Port()+1)
	other, err := net.Listen("tcp", taken.String())
	must(t, err)
	r.at = taken
	r.put(t, a)
	r.until(t, "the port is told to be in use", func(s State) bool {
		return strings.Contains(s.Error, "listen on "+taken.String()+": address already in use") && strings.Contains(s.Error, "ss -ltnp") && s.Gateway.Port == old.Port()
	})
	r.at = old
	exchange(t, r.dial(t), "the old port still leads on")

	must(t, other.Close())
	r.at = taken
	r.until(t, "it has moved", func(s State) bool { return s.Error == "" && s.Gateway.Port == taken.Port() })
	exchange(t, r.dial(t), "hello")
	exchange(t, before, "nothing happened to those from before")
	if conn, err := net.Dial("tcp", old.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the old port answers: %v %v", conn, err)
	}
}

func TestItListensOnBothLoopbackAddresses(t *testing.T) {
	t.Parallel()
	a := newMember(t, "a", echo)
	r := start(t, func(r *rig) {
		r.at = netip.AddrPortFrom(netip.Addr{}, ownPort(t))
		r.put(t, a)
	})
	loopback := []string{"127.0.0.1"}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		must(t, l.Close())
		loopback = append(loopback, "::1")
	} else if !absent(err) {
		t.Fatal(err)
	}
	for _, l := range loopback {
		r.at = netip.AddrPortFrom(netip.MustParseAddr(l), r.at.Port())
		exchange(t, r.dial(t), "hello")
	}
}

func TestStartsThatFail(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	other, err := net.Listen("tcp", p.at.String())
	must(t, err)
	defer other.Close()
	for name, c := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"no list":         {func(o *Options) { o.List += ".other" }, []string{"read the list", "no such file"}},
		"the port in use": {func(*Options) {}, []string{"listen on " + p.at.String(), "address already in use", "ss -ltnp", "gateway_port"}},
		"no directory for the socket": {func(o *Options) {
			o.Listen, o.State = ownAddress(), filepath.Join(p.dir, "none", "state")
		}, []string{"listen for questions", "no such file"}},
		"a file instead of the socket": {func(o *Options) { o.Listen, o.State = ownAddress(), p.listPath() }, []string{"listen for questions", "address already in use"}},
		"somebody else's address":      {func(o *Options) { o.Listen = netip.MustParseAddr("192.0.2.1") }, []string{"listen on 192.0.2.1"}},
	} {
		o := p.options()
		c.change(&o)
		o.Log = slog.New(slog.DiscardHandler)
		err := Run(context.Background(), o)
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %v, want %q", name, err, w)
			}
		}
	}
	if _, err := os.Stat(p.listPath()); err != nil {
		t.Errorf("the list is gone: %v", err)
	}
}
