package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"cke/internal/cluster"
	"cke/internal/host"
)

func TestWhatIsUnderWayIsReadFromTheMetrics(t *testing.T) {
	t.Parallel()
	const id, own = cluster.MemberID(0x8e9e05c52164694d), `etcd_server_id{server_id="8e9e05c52164694d"} 1` + "\n"
	call := func(family, code, method, service, kind, n string) string {
		return family + "{" + code + `grpc_method="` + method + `",grpc_service="etcdserverpb.` + service + `",grpc_type="` + kind + `"} ` + n + "\n"
	}
	started := func(method, service, kind, n string) string {
		return call("grpc_server_started_total", "", method, service, kind, n)
	}
	handled := func(code, method, service, kind, n string) string {
		return call("grpc_server_handled_total", `grpc_code="`+code+`",`, method, service, kind, n)
	}
	gets := started("Range", "KV", "unary", "12") + handled("OK", "Range", "KV", "unary", "11") + handled("Unknown", "Range", "KV", "unary", "1")
	for name, c := range map[string]struct {
		text        string
		idle, fails bool
	}{
		"all is answered":       {own + gets, true, false},
		"one is not":            {own + gets + started("Txn", "KV", "unary", "1"), false, false},
		"a watch is open":       {own + gets + started("Watch", "Watch", "bidi_stream", "3") + handled("Canceled", "Watch", "Watch", "bidi_stream", "1"), true, false},
		"a lease is kept alive": {own + gets + started("LeaseKeepAlive", "Lease", "bidi_stream", "1"), true, false},
		"a snapshot is taken":   {own + gets + started("Snapshot", "Maintenance", "server_stream", "1"), false, false},
		"another member's":      {strings.ReplaceAll(own, "8e9e", "8e9f") + gets, false, false},
		"nothing is counted":    {own, false, false},
		"it is no number":       {own + started("Range", "KV", "unary", "many"), false, true},
	} {
		if idle, err := readIdle(strings.NewReader(c.text), id); idle != c.idle || (err != nil) != c.fails {
			t.Errorf("%s: got %v, %v", name, idle, err)
		}
	}
}

func TestGraceIsOverWhenNothingIsUnderWay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		idle func(ask int) (bool, error)
		want time.Duration
	}{
		"from the first moment": {func(int) (bool, error) { return true, nil }, graceLeast + graceAsk},
		"some time later":       {func(ask int) (bool, error) { return ask >= 4, nil }, graceLeast + 5*graceAsk},
		"for one moment":        {func(ask int) (bool, error) { return ask == 2, nil }, time.Second},
		"never":                 {func(int) (bool, error) { return false, nil }, time.Second},
		"nobody says so":        {func(int) (bool, error) { return true, errors.New("it does not answer") }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, begun := 0, time.Now()
				ctx, end := untilIdle(time.Second, func(context.Context) (bool, error) {
					defer func() { asked++ }()
					return c.idle(asked)
				})(t.Context())
				defer end()
				<-ctx.Done()
				if took := time.Since(begun); took != c.want {
					t.Errorf("it took %s, want %s", took, c.want)
				}
			})
		})
	}
}

// TestWhoListensNoMoreHasAnswered: etcd closes its metrics port after all clients' calls.
func TestWhoListensNoMoreHasAnswered(t *testing.T) {
	t.Parallel()
	var l net.ListenConfig
	silent, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	at := netip.MustParseAddrPort(silent.Addr().String())
	if idle, err := hasAnswered(t.Context(), at, 1); idle || err == nil {
		t.Errorf("one that listens and says nothing has answered: %v, %v", idle, err)
	}
	must(t, silent.Close())
	if idle, err := hasAnswered(t.Context(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 1), 1); !idle || err != nil {
		t.Errorf("one that does not listen has not answered: %v, %v", idle, err)
	}
}

// etcd itself would wait some seconds for the watch, and then end by itself.
func TestAMemberThatWaitsForAWatchIsKilled(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	h, u, ca := inProcess(t, b), b.founder(), newCA(t)
	must(t, h.PutFiles(t.Context(), host.PutFiles{Cluster: u.Cluster, Files: ca.files(t, b.addr)}))
	must(t, h.InstallUnit(t.Context(), u))
	must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
	watch, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + b.addr.String() + ":2379"}, TLS: ca.client(t, b.addr), Logger: zap.NewNop(),
	})
	must(t, err)
	t.Cleanup(func() { must(t, watch.Close()) })
	watch.Watch(t.Context(), "a", clientv3.WithPrefix())
	at := netip.AddrPortFrom(loopback(u.Address), cluster.MetricsPort)
	eventually(t, "the watch is open", func() bool {
		open := false
		err := readMetrics(t.Context(), at, func(text io.Reader) error {
			all, err := io.ReadAll(text)
			open = strings.Contains(string(all), `grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 1`)
			return err
		})
		return err == nil && open
	})
	must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member, Grace: time.Minute}))
	if f := facts(t, h, b); f.Unit.Running || f.Unit.Exit != "signal: killed" {
		t.Errorf("%+v", f.Unit)
	}
}
