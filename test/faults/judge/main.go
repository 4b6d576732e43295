// Command judge checks the history that a failed run of the fault suite has saved.
package main

import (
	"fmt"
	"os"
	"time"

	"cke/test/faults/history"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: judge history.json.gz")
		os.Exit(2)
	}
	h, err := history.Load(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	found := history.Check(h, history.Limits{}, 10*time.Minute)
	for _, v := range found {
		fmt.Println(v)
	}
	fmt.Println(history.Summary(h))
	if len(found) > 0 {
		os.Exit(1)
	}
}
