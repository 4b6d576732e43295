package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cke/internal/seal"
)

// idleFor is how long the benchmark watches an idle store.
const idleFor = 30 * time.Second

// BenchmarkIdle prints what an open, idle store costs: memory and CPU of a
// process that does nothing else, with ten clusters and one full history in it.
func BenchmarkIdle(b *testing.B) {
	dir, keyFile := b.TempDir(), b.TempDir()+"/key"
	if _, err := seal.CreateKey(keyFile); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, childKey+"="+keyFile, childIdle+"=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err, string(out))
		}
		var rss, cpu float64
		if _, err := fmt.Sscan(string(out), &rss, &cpu); err != nil {
			b.Fatal(err, string(out))
		}
		b.ReportMetric(rss, "MB-rss")
		b.ReportMetric(cpu, "%cpu")
	}
}

// idle fills a store, lets it rest and prints MB of resident memory and percent
// of a core.
func idle(dir, keyFile string) error {
	ctx := context.Background()
	key, err := seal.LoadKey(keyFile)
	if err != nil {
		return err
	}
	s, err := Open(ctx, Options{Dir: dir, Sealer: key})
	if err != nil {
		return err
	}
	for i := range 10 {
		if _, _, err := s.PutSpec(ctx, spec(fmt.Sprint("c", i), 1, 2, 3), 0); err != nil {
			return err
		}
	}
	for range keepRecords {
		r := testRecord("c0", "x")
		r.Reason = strings.Repeat("why ", 200)
		if _, err := s.Append(ctx, r); err != nil {
			return err
		}
	}
	if _, err := s.Watch(ctx); err != nil {
		return err
	}
	<-time.After(5 * time.Second) // until the writes have settled
	before, err := cpuTime()
	if err != nil {
		return err
	}
	<-time.After(idleFor)
	after, err := cpuTime()
	if err != nil {
		return err
	}
	rss, err := residentMB()
	if err != nil {
		return err
	}
	fmt.Println(rss, 100*(after-before).Seconds()/idleFor.Seconds())
	return s.Close()
}

func cpuTime() (time.Duration, error) {
	var u unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

func residentMB() (float64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kb float64
		if n, _ := fmt.Sscanf(lines.Text(), "VmRSS: %f kB", &kb); n == 1 {
			return kb / 1024, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc/self/status")
}
