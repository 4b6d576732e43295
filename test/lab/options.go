package lab

// Option is something a lab is started with.
type Option func(*options)

type options struct {
	disk     string // size of each machine's own disk; empty: it shares the box's
	dataDisk string // size of its second disk; empty: it has none
}

func newOptions(opts []Option) options {
	o := options{disk: "2G"}
	for _, set := range opts {
		set(&o)
	}
	return o
}

// Disk sets the size of each machine's own disk, which holds everything the
// machine writes. It is "2G" unless told otherwise, and takes only the room that
// is written to. Sizes are as truncate(1) takes them.
func Disk(size string) Option { return func(o *options) { o.disk = size } }

// DataDisk gives each machine a second disk, mounted at DataDir.
func DataDisk(size string) Option { return func(o *options) { o.dataDisk = size } }

// Light has the machines write to the box's own disk: for many machines of which
// no disk is to be broken. A power cut loses nothing they wrote.
func Light() Option { return func(o *options) { o.disk = "" } }

// DataDir is where a machine's data disk is mounted, if it has one.
const DataDir = "/var/lib/cke/etcd"
