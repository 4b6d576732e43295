// Command bench measures what CKE costs over doing the same by hand.
//
//	bench bootstrap   from `cluster set` to auth on and a write through each
//	                  member, in pairs with the floor: the same three etcds
//	                  started by hand, at once and one first
//	bench floor       the floor alone
//	bench idle        memory and CPU of an idle cke
//	bench lab         the same on real machines over SSH (docs/LAB.md), beside
//	                  plain ssh and scp; what a machine's answer takes; twenty
//	                  machines; changes of the membership and rolling restarts,
//	                  beside the same by hand; hundreds of simulated clusters.
//	                  Needs root.
//	bench kube        how soon a real Kubernetes and its DNS know of a member that
//	                  died or was promoted, and what CKE asks of the API server
//	                  in quiet. Needs root, and `make build-kube`.
//
// It needs the programs in bin/ and addresses of 127.0.0.0/8. It reports; it
// asserts nothing about time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"cke/internal/units"
)

const synopsis = "usage: bench bootstrap|floor [-pairs 7] [-v] | bench idle [-settle 2m] [-for 60s] | bench lab [-pairs 0] [-for 60s] [-size 1GiB] [-fleet 100,300,1000] [-only PART,…] [-v] | bench kube [-for 60s]"

// options of all subcommands.
type options struct {
	bin    string        // the directory of the built programs
	dir    string        // where members keep their data: a real disk, not a tmpfs
	pairs  int           // how often
	settle time.Duration // idle: wait this long before measuring
	span   time.Duration // idle: measure for this long
	only   string        // lab: nothing but these
	size   int64         // lab: bytes of the database that a dead member held
	fleet  string        // lab: how many clusters
	v      bool          // print CKE's history of each bootstrap
}

// times is how often to measure: as often as was asked for, or this often.
func (o options) times(unasked int) int {
	if o.pairs > 0 {
		return o.pairs
	}
	return unasked
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, synopsis)
		os.Exit(2)
	}
	o := options{size: 1 << 30}
	f := flag.NewFlagSet("bench "+os.Args[1], flag.ExitOnError)
	f.StringVar(&o.bin, "bin", "bin", "directory of cke and etcd")
	f.StringVar(&o.dir, "dir", ".cache/bench", "directory for data, removed afterwards")
	f.IntVar(&o.pairs, "pairs", 0, "how many pairs; 0 is as many as each part needs")
	f.DurationVar(&o.settle, "settle", 2*time.Minute, "how long cke idles before it is measured")
	f.DurationVar(&o.span, "for", time.Minute, "how long it is measured")
	f.Func("size", "lab: size of the database whose dead member is replaced (default 1GiB)", func(text string) error {
		size, err := units.ParseSize(text)
		o.size = int64(size)
		return err
	})
	f.StringVar(&o.fleet, "fleet", "100,300,1000", "lab: numbers of simulated clusters")
	f.StringVar(&o.only, "only", "", "lab: nothing but these parts, of "+partNames())
	f.BoolVar(&o.v, "v", false, "print CKE's own history of each bootstrap")
	if err := f.Parse(os.Args[2:]); err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1], o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, what string, o options) (err error) {
	if o.pairs < 0 {
		return fmt.Errorf("-pairs must not be negative, but it is %d", o.pairs)
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp(dir, "run-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	switch what {
	case "bootstrap":
		return compare(ctx, o)
	case "floor":
		return floors(ctx, o)
	case "idle":
		return idle(ctx, o)
	case "lab":
		return onMachines(ctx, o)
	case "kube":
		return inKubernetes(ctx, o)
	default:
		return fmt.Errorf("there is no benchmark %q; %s", what, synopsis)
	}
}
