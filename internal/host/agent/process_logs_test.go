package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cke/internal/host"
)

// Lines are whole, the last ones, and each once, whatever becomes of the file.
func TestTailsAreFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "etcd.log")
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		err := writeTails(ctx, w, []*logTail{{path: path}}, 2, true)
		_ = w.CloseWithError(err)
		ended <- err
	}()
	lines := bufio.NewScanner(r)
	want := func(line string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != line {
			t.Fatalf("got %q, %v, want %q", lines.Text(), lines.Err(), line)
		}
	}
	appendTo := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		must(t, err)
		_, err = f.WriteString(text)
		must(t, errors.Join(err, f.Close()))
	}
	appendTo("it came later\nhalf")
	want("it came later")
	appendTo(" and half\n")
	want("half and half")
	appendTo("before")
	must(t, os.Rename(path, path+".1"))
	appendTo("after\n")
	want("before" + "after") // a file that ends without a line's end is not cut
	appendTo("end\n")
	want("end")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestTailBegins(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "etcd.log")
	var all []string
	for i := range 5000 {
		all = append(all, fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", i%97)))
	}
	for _, end := range []string{"", "unfinished"} {
		must(t, os.WriteFile(path, []byte(strings.Join(all, "")+end), 0o600))
		for _, n := range []int{0, 1, 7, 4999, 5000, 9000} {
			var got strings.Builder
			must(t, writeTails(t.Context(), &got, []*logTail{{path: path}, {path: path + ".none"}}, n, false))
			want := strings.Join(all[len(all)-min(n, len(all)):], "")
			if got.String() != want {
				t.Errorf("%d lines, %q at the end: %d bytes, want %d", n, end, got.Len(), len(want))
			}
		}
	}
}

// Who asks for the last lines of a file that grows gets no more than those.
func TestWhatComesMeanwhileIsNotOfTheLastLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "etcd.log")
	must(t, os.WriteFile(path, []byte("one\ntwo\nthree\nhalf"), 0o600))
	tail := &logTail{path: path}
	defer tail.close()
	must(t, tail.seek(2, false))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString(" and half\nfour\n")
	must(t, errors.Join(err, f.Close()))
	var got strings.Builder
	must(t, lastOf(&got, []*logTail{tail, {path: path + ".none"}}))
	if got.String() != "two\nthree\n" {
		t.Errorf("got %q", got.String())
	}
}

func TestLog(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, u := open(t, b), b.founder()
		for _, bad := range []host.LogRequest{{Cluster: "../x"}, {Cluster: "c", Lines: -1}, {Cluster: "c", Lines: host.MaxLogLines + 1}} {
			_, err := h.Log(t.Context(), bad)
			wantInvalid(t, err)
		}
		read := func(lines int) string {
			t.Helper()
			r, err := h.Log(t.Context(), host.LogRequest{Cluster: u.Cluster, Lines: lines})
			must(t, err)
			text, err := io.ReadAll(r)
			must(t, errors.Join(err, r.Close()))
			return string(text)
		}
		b.install(t, h, u)
		must(t, h.StartUnit(t.Context(), u.Cluster, u.Member))
		eventually(t, "etcd's log is told", func() bool { return strings.Contains(read(host.MaxLogLines), `"name":"cp1"`) })
		// While it starts it writes on as they are read.
		eventually(t, "the last three lines are told", func() bool { return strings.Count(read(3), "\n") == 3 })
		ctx, cancel := context.WithCancel(t.Context())
		r, err := h.Log(ctx, host.LogRequest{Cluster: u.Cluster, Lines: 1, Follow: true})
		must(t, err)
		lines := bufio.NewReader(r)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		must(t, h.StopUnit(t.Context(), host.StopUnit{Cluster: u.Cluster, Member: u.Member, Grace: 10e9}))
		must(t, h.StartUnit(t.Context(), u.Cluster, u.Member)) // killed early, it says nothing at its end
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatalf("what comes is not told: %v", err)
		}
		cancel()
		if _, err := io.ReadAll(lines); err == nil {
			t.Error("following ends well when it is cancelled")
		}
		must(t, r.Close())
	})
}
