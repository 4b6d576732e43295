package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cke/internal/units"
)

const (
	// littleDirty is how much may wait to be written when something is measured: what
	// else runs on the box is never quite still.
	littleDirty = 64 << 20
	restLimit   = time.Minute
	restPoll    = 200 * time.Millisecond
)

// diskAtRest brings everything that was written to the box's disk, which all machines
// share, and returns when hardly anything is left to write: nobody shall pay for what
// another has written before. It says so where others write all the time.
func diskAtRest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restLimit)
	defer cancel()
	for {
		syscall.Sync() // all file systems, the machines' too
		dirty, err := unwritten()
		if err != nil || dirty <= littleDirty {
			return err
		}
		if err := pause(ctx, restPoll); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				fmt.Printf("   after %s %s still wait to be written: something else writes all the time\n", restLimit, units.Size(dirty))
				return nil
			}
			return err
		}
	}
}

// unwritten is what waits to be written, or is being written just now.
func unwritten() (int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return readUnwritten(f)
}

func readUnwritten(r io.Reader) (int64, error) {
	var sum int64
	found := 0
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "Dirty" && name != "Writeback" {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read what is unwritten: %w", err)
		}
		sum += n << 10
		found++
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	if found != 2 {
		return 0, fmt.Errorf("read what is unwritten: %d of 2 lines are there", found)
	}
	return sum, nil
}
