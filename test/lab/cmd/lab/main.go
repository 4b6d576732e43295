// Command lab keeps a lab of machines for a person (make lab-up, lab-down), and
// is what the lab runs beside a test: its guard and its packet delayer.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"cke/test/lab"
	"cke/test/lab/nfqueue"
)

const synopsis = `usage: lab up [-data SIZE] [-light] [-spec FILE] N | lab down | lab image`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(synopsis)
	}
	switch args[0] {
	case "up":
		return up(args[1:])
	case "down":
		return lab.DownLocked()
	case "image":
		return lab.Image(os.Stdout)
	case "guard": // started by lab.Start
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			return err
		}
		return lab.Down()
	case "delay": // started by lab.Delay
		return delay(args[1:])
	}
	return errors.New(synopsis)
}

func up(args []string) error {
	f := flag.NewFlagSet("lab up", flag.ContinueOnError)
	data := f.String("data", "", "size of a second disk for etcd's data")
	light := f.Bool("light", false, "no disks of their own: for many machines")
	spec := f.String("spec", ".lab/cluster.yml", "where to write a cluster.yml")
	if err := f.Parse(args); err != nil {
		return err
	}
	n, err := strconv.Atoi(f.Arg(0))
	if err != nil {
		return fmt.Errorf("read the number of machines: %w; %s", err, synopsis)
	}
	opts := []lab.Option{lab.DataDisk(*data)}
	if *light {
		opts = append(opts, lab.Light())
	}
	return lab.Keep(os.Stdout, n, *spec, opts...)
}

func delay(args []string) error {
	f := flag.NewFlagSet("lab delay", flag.ContinueOnError)
	queue := f.Uint("queue", 0, "number of the netfilter queue")
	wait := f.Duration("wait", 50*time.Millisecond, "how long each packet waits")
	jitter := f.Duration("jitter", 0, "how much longer at most, at random")
	if err := f.Parse(args); err != nil {
		return err
	}
	return nfqueue.Delay(uint16(*queue), *wait, *jitter, func() { fmt.Println("ready") })
}
