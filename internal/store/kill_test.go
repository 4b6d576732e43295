package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"cke/internal/seal"
)

// childDir, set in the environment, makes this test binary a daemon that
// appends records there for ever and prints the number of each acknowledged one,
// or, with childIdle, one that rests.
const (
	childDir  = "CKE_STORE_TEST_CHILD_DIR"
	childKey  = "CKE_STORE_TEST_CHILD_KEY"
	childIdle = "CKE_STORE_TEST_CHILD_IDLE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if os.Getenv(childIdle) != "" {
			if err := idle(dir, os.Getenv(childKey)); err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
			os.Exit(0)
		}
		fmt.Println("error", appendForEver(dir, os.Getenv(childKey)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func appendForEver(dir, keyFile string) error {
	ctx := context.Background()
	key, err := seal.LoadKey(keyFile)
	if err != nil {
		return err
	}
	s, err := Open(ctx, Options{Dir: dir, Sealer: key})
	if err != nil {
		return err
	}
	fmt.Println("epoch", s.Epoch())
	for {
		r, err := s.Append(ctx, testRecord("main", "x"))
		if err != nil {
			return err
		}
		fmt.Println("seq", r.Seq)
	}
}

// TestAcknowledgedWritesSurviveKill9 kills a writing daemon again and again, at
// any moment from its start on, and counts what it said it had written.
func TestAcknowledgedWritesSurviveKill9(t *testing.T) {
	dir, keyFile := t.TempDir(), t.TempDir()+"/key"
	key, err := seal.CreateKey(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	var acked, epoch int64
	for round := range 14 {
		patience := time.Duration(round*round) * 7 * time.Millisecond
		seq, ep := runAndKill(t, dir, keyFile, patience)
		if ep != 0 && ep <= epoch {
			t.Errorf("epoch %d after %d", ep, epoch)
		}
		acked, epoch = max(acked, seq), max(epoch, ep)
	}
	// Enough to be sure that kills hit writes, however long a busy disk takes for one.
	for round := 0; acked < 50; round++ {
		if round == 20 {
			t.Fatalf("only %d writes were made", acked)
		}
		seq, _ := runAndKill(t, dir, keyFile, time.Duration(2+round)*time.Second) // nor for a start
		acked = max(acked, seq)
	}
	s := open(t, Options{Dir: dir, Sealer: key})
	got, err := s.Records(t.Context(), "main", 1)
	if err != nil || len(got) != 1 || got[0].Seq < acked {
		t.Fatalf("newest is %v, %v; acknowledged %d", got, err, acked)
	}
	all, err := s.Records(t.Context(), "main", keepRecords)
	if err != nil || int64(len(all)) != min(got[0].Seq, keepRecords) {
		t.Errorf("%d records up to %d, %v", len(all), got[0].Seq, err)
	}
	if s.Epoch() <= epoch {
		t.Errorf("epoch %d after %d", s.Epoch(), epoch)
	}
}

// runAndKill returns the last number and the epoch that the child printed.
func runAndKill(t *testing.T, dir, keyFile string, patience time.Duration) (seq, epoch int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childKey+"="+keyFile)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The moment of the kill is the point of the test: no condition to wait for.
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseInt(rest, 10, 64)
		switch {
		case err == nil && word == "seq":
			seq = n
		case err == nil && word == "epoch":
			epoch = n
		default:
			t.Errorf("child: %s", lines.Text())
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	return seq, epoch
}

// TestFirstStartSurvivesKill9 kills first starts at many moments; the next start
// must succeed whatever the first had come to.
func TestFirstStartSurvivesKill9(t *testing.T) {
	keyFile := t.TempDir() + "/key"
	key, err := seal.CreateKey(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		dir := t.TempDir()
		runAndKill(t, dir, keyFile, time.Duration(10+6*round)*time.Millisecond)
		s, err := Open(t.Context(), Options{Dir: dir, Sealer: key})
		if err != nil {
			t.Fatalf("after %d ms: %v", 10+6*round, err)
		}
		closeStore(t, s)
	}
}
