package main

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCompareFlags(t *testing.T) {
	floor := []string{"--name=a", "--quota-backend-bytes=1", "--cert-file=/x", "--auto-compaction-mode=periodic"}
	for _, c := range []struct {
		name string
		cke  []string
		want []string
	}{
		{"same but for names and paths", []string{"--name=b", "--quota-backend-bytes=1", "--cert-file=/y", "--auto-compaction-mode=periodic"}, nil},
		{"another value", []string{"--quota-backend-bytes=2", "--cert-file=/y", "--auto-compaction-mode=periodic"},
			[]string{`--quota-backend-bytes: cke "2", floor "1"`}},
		{"one more", append(slices.Clone(floor), "--client-crl-file=/z"), []string{`--client-crl-file: cke "…", floor not set`}},
		{"one fewer", floor[:3], []string{`--auto-compaction-mode: cke not set, floor "periodic"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := compareFlags(c.cke, floor); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDiffering(t *testing.T) {
	hand := unitByHand("/x/etcd", nil, 100)
	if d := differing(hand, hand); d != nil {
		t.Errorf("a unit differs from itself: %q", d)
	}
	other := strings.NewReplacer("UMask=0077\n", "", "LimitNOFILE=100", "LimitNOFILE=7", "RestartSec=2", "RestartSec=9").Replace(hand)
	want := []string{"cke has LimitNOFILE=7", "floor has LimitNOFILE=100", "floor has UMask=0077"}
	if d := differing(other, hand); !slices.Equal(d, want) {
		t.Errorf("got %q, want %q", d, want)
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of 3, 1, 2 = %v", got)
	}
	if got := median([]time.Duration{7}); got != 7 {
		t.Errorf("median of one = %v", got)
	}
}

func TestUsageCountsWorkAndMemory(t *testing.T) {
	before, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<20)
	for begin := time.Now(); time.Since(begin) < 200*time.Millisecond; {
		for i := range block {
			block[i]++
		}
	}
	after, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if worked := after.cpu - before.cpu; worked <= 0 || worked > 30*time.Second {
		t.Errorf("200 ms of work count as %s", worked)
	}
	if grown := after.rss - before.rss; grown < 32<<20 {
		t.Errorf("64 MiB written count as %d bytes", grown)
	}
	runtime.KeepAlive(block)
}
