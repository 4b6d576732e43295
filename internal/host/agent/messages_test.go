package agent

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cke/internal/host"
)

const (
	infoLine   = `{"level":"info","ts":"2026-11-23T15:22:47.5Z","caller":"a.go:1","msg":"starting"}` + "\n"
	warnLine   = `{"level":"warn","ts":"2026-11-23T15:22:47.5Z","caller":"a.go:2","msg":"not recommended"}` + "\n"
	verifyLine = `{"level":"warn","ts":"2026-11-23T15:22:47.6Z","caller":"a.go:3","msg":"failed to verify flags","error":"--heartbeat-interval must be >0 (set to 0ms)"}` + "\n"
	errorLine  = `{"level":"error","ts":"2026-11-23T15:22:47.7Z","msg":"serving failed","error":"read tcp 127.0.0.1:51234->127.0.0.1:2380: reset","stacktrace":"x\ny"}` + "\n"
	fatalLine  = `{"level":"fatal","ts":"2026-11-23T15:22:47.8Z","caller":"a.go:4","msg":"discovery failed","error":"cannot fetch cluster info from peer urls","stacktrace":"x"}` + "\n"
	usage      = "invalid value \"x\" for flag -heartbeat-interval: parse error\nUsage:\n\n  etcd [flags]\n    Start an etcd server.\n"
	panicTrace = "panic: unrecognized level: \"foo\"\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:4 +0x51\nexit status 2\n"
	sigTrace   = "panic: runtime error: invalid memory address\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x7f]\n\ngoroutine 7 [running]:\nmain()\n"
	columns    = "2026-11-23T15:22:47.534Z\tinfo\ta.go:1\tstarting\n2026-11-23T15:22:47.6Z\tfatal\tetcdmain/etcd.go:65\tdiscovery failed\t{\"error\": \"no peer\"}\n"
)

func TestMessages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ log, cause, summary string }{
		"nothing":        {"", "", ""},
		"chatter":        {infoLine + warnLine, "not recommended", "not recommended"},
		"flags":          {infoLine + warnLine + verifyLine + infoLine, "failed to verify flags: --heartbeat-interval must be >0 (set to 0ms)", "failed to verify flags: --heartbeat-interval must be >0 (set to 0ms)"},
		"local end":      {verifyLine + errorLine + infoLine, "serving failed: read tcp 127.0.0.1:2380: reset", "serving failed: read tcp 127.0.0.1:2380: reset"},
		"fatal":          {fatalLine + errorLine + errorLine, "discovery failed: cannot fetch cluster info from peer urls", "discovery failed: cannot fetch cluster info from peer urls\nserving failed: read tcp 127.0.0.1:2380: reset"},
		"flag's value":   {usage, `invalid value "x" for flag -heartbeat-interval: parse error`, `invalid value "x" for flag -heartbeat-interval: parse error`},
		"panic":          {infoLine + errorLine + panicTrace, `panic: unrecognized level: "foo"`, "serving failed: read tcp 127.0.0.1:2380: reset\n" + `panic: unrecognized level: "foo"`},
		"signal":         {sigTrace, "panic: runtime error: invalid memory address", "panic: runtime error: invalid memory address"},
		"columns":        {columns, "discovery failed: no peer", "discovery failed: no peer"},
		"torn":           {infoLine + fatalLine[:40], fatalLine[:40], fatalLine[:40]},
		"expired":        {`{"level":"error","msg":"m","error":"current time 2026-11-23T15:22:47Z is after 2026-01-01T00:00:00Z"}`, "m: current time is after 2026-01-01T00:00:00Z", "m: current time is after 2026-01-01T00:00:00Z"},
		"after a trace":  {panicTrace + sigTrace, "panic: runtime error: invalid memory address", "panic: unrecognized level: \"foo\"\npanic: runtime error: invalid memory address"},
		"cause one line": {`{"level":"panic","msg":"a\nb\tc"}`, "a b c", "a\nb\tc"},
	} {
		ms := distil(c.log)
		if got := ms.cause(); got != c.cause {
			t.Errorf("%s: cause %q, want %q", name, got, c.cause)
		}
		if got := ms.summary(); got != c.summary {
			t.Errorf("%s: summary %q, want %q", name, got, c.summary)
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 100 {
		many.WriteString(`{"level":"error","msg":"failure ` + strconv.Itoa(i) + "\"}\n")
	}
	for name, log := range map[string]string{
		"many": many.String(),
		"long": `{"level":"fatal","msg":"` + strings.Repeat("é", 400) + `"}`,
	} {
		ms := distil(log)
		for _, got := range []string{ms.summary(), ms.cause()} {
			if len(got) > summaryBytes || len(got) < 5 || strings.ContainsRune(got, '\ufffd') {
				t.Errorf("%s: %d bytes: %q", name, len(got), got)
			}
		}
	}
	if got := distil(many.String()).summary(); !strings.HasSuffix(got, "\nfailure 99") || strings.Contains(got, "failure 0") {
		t.Errorf("not the last ones: %q", got)
	}
}

// The same failure has the same text each time, so that whoever tries again
// can tell that it is no news; it is told in facts too, also by an agent that
// did not see it.
func TestFirstStartThatFailsSaysWhy(t *testing.T) {
	for name, c := range map[string]struct{ flag, value, exit, why string }{
		"refused by etcd":       {"heartbeat-interval", "0", "exit status 1", "failed to verify flags: --heartbeat-interval must be >0 (set to 0ms)"},
		"refused by the parser": {"heartbeat-interval", "x", "exit status 2", `invalid value "x" for flag -heartbeat-interval: parse error`},
		"panic":                 {"log-level", "foo", "exit status 2", `panic: unrecognized level: "foo"`},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, b *box, open opener) {
				h, u := open(t, b), b.founder()
				u.ExtraArgs = map[string]string{c.flag: c.value}
				b.install(t, h, u)
				for range 3 {
					err := h.StartUnit(t.Context(), u.Cluster, u.Member)
					if want := "etcd ends right after its start: " + c.exit + ": " + c.why; err == nil || err.Error() != want {
						t.Fatalf("got  %v\nwant %s", err, want)
					}
				}
				for _, asked := range []host.Host{h, open(t, b)} {
					if f := facts(t, asked, b); f.Unit.Sealed || f.Unit.Running || f.Unit.Exit != c.exit || f.Unit.Log != c.why {
						t.Fatalf("%+v", f.Unit)
					}
				}
				u.ExtraArgs = nil
				must(t, h.InstallUnit(t.Context(), u))
				must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
				if f := facts(t, h, b); f.Unit.Exit != "" || f.Unit.Log != "" {
					t.Fatalf("of a running member: %+v", f.Unit)
				}
			})
		})
	}
}

// Killed, it has said nothing about it; its last message is told nevertheless.
func TestKilledMemberSaysHowItEnded(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, u := open(t, b), b.founder()
		b.install(t, h, u)
		must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
		b.staysDown(t, u)
		must(t, syscall.Kill(b.etcds(t)[0], syscall.SIGKILL))
		eventually(t, "the end is told", func() bool { return facts(t, h, b).Unit.Exit == "signal: killed" })
		for _, asked := range []host.Host{h, open(t, b)} {
			f := facts(t, asked, b)
			if f.Unit.Exit != "signal: killed" || f.Unit.Log == "" || len(f.Unit.Log) > summaryBytes ||
				strings.Contains(f.Unit.Log, strconv.Itoa(time.Now().Year())+"-") { // a time, which an id may look like
				t.Fatalf("%+v", f.Unit)
			}
		}
	})
}
