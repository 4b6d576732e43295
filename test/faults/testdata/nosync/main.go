// Command nosync is an etcd that acknowledges what is not on the disk.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	args := os.Args
	if len(args) > 2 { // not when it is asked for its version
		args = append(args, "--unsafe-no-fsync")
	}
	etcdmain.Main(args)
}
